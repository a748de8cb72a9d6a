// The API server's own encryption at rest, without the API server: its library loads an EncryptionConfiguration, keeps its seeds,
// polls Status and calls Encrypt and Decrypt exactly as a kube-apiserver of this version does. One JSON object a line on standard
// input, one answer a line on standard output.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
)

type question struct {
	ID     int    `json:"id"`
	Op     string `json:"op"`
	Name   string `json:"name"`
	Data   []byte `json:"data"`
	Stored []byte `json:"stored"`
}

type answer struct {
	ID     int    `json:"id"`
	Data   []byte `json:"data,omitempty"`
	Stored []byte `json:"stored,omitempty"`
	Stale  bool   `json:"stale"`
	Error  string `json:"error,omitempty"`
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	config, err := encryptionconfig.LoadEncryptionConfig(ctx, os.Args[1], false, "test-api-server")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	secrets := config.Transformers[schema.GroupResource{Resource: "secrets"}]
	answers := make(chan answer)
	go func() {
		out := json.NewEncoder(os.Stdout)
		for one := range answers {
			_ = out.Encode(one)
		}
	}()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var q question
		if json.Unmarshal(lines.Bytes(), &q) != nil {
			continue
		}
		go func() { answers <- ask(ctx, config, secrets, q) }()
	}
}

func ask(ctx context.Context, config *encryptionconfig.EncryptionConfiguration, secrets value.Transformer, q question) answer {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	a := answer{ID: q.ID}
	var err error
	switch q.Op {
	case "write":
		a.Stored, err = secrets.TransformToStorage(ctx, q.Data, value.DefaultContext(q.Name))
	case "read":
		a.Data, a.Stale, err = secrets.TransformFromStorage(ctx, q.Stored, value.DefaultContext(q.Name))
	case "healthz":
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, "/healthz", nil)
		for _, check := range config.HealthChecks {
			if err == nil {
				err = check.Check(request)
			}
		}
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}
