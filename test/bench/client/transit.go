package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// Transit calls as the provider makes them, over connections that are kept, HTTP/1.1 and TLS, without anything between.
type transit struct {
	address, mount, key, token string
	http                       *http.Client
}

func newTransit(address, caFile, mount, key, token string) (*transit, error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("no certificate in %s", caFile)
	}
	kept := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: 128,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}
	return &transit{address, mount, key, token, &http.Client{Transport: kept}}, nil
}

type transitAnswer struct {
	Data struct {
		Ciphertext string `json:"ciphertext"`
		Plaintext  []byte `json:"plaintext"`
	} `json:"data"`
}

// The encodings of bytes in Go's JSON and in Transit are the same.
type encryptBody struct {
	Plaintext      []byte `json:"plaintext"`
	AssociatedData []byte `json:"associated_data"`
}

type decryptBody struct {
	Ciphertext     string `json:"ciphertext"`
	AssociatedData []byte `json:"associated_data"`
}

func (transit *transit) encrypt(ctx context.Context, plaintext, aad []byte) (string, error) {
	answer, err := transit.call(ctx, "encrypt", encryptBody{plaintext, aad})
	return answer.Data.Ciphertext, err
}

func (transit *transit) decrypt(ctx context.Context, ciphertext string, aad []byte) ([]byte, error) {
	answer, err := transit.call(ctx, "decrypt", decryptBody{ciphertext, aad})
	return answer.Data.Plaintext, err
}

func (transit *transit) call(ctx context.Context, what string, body any) (transitAnswer, error) {
	var answer transitAnswer
	text, err := json.Marshal(body)
	if err != nil {
		return answer, err
	}
	url := transit.address + "/v1/" + transit.mount + "/" + what + "/" + transit.key
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return answer, err
	}
	request.Header.Set("X-Vault-Token", transit.token)
	request.Header.Set("X-Vault-Request", "true")
	request.Header.Set("Content-Type", "application/json")
	reply, err := transit.http.Do(request)
	if err != nil {
		return answer, err
	}
	defer reply.Body.Close()
	// Read to its end, or its connection is not kept.
	read, err := io.ReadAll(reply.Body)
	if err != nil {
		return answer, err
	}
	if reply.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("%s: status %d", what, reply.StatusCode)
	}
	return answer, json.Unmarshal(read, &answer)
}
