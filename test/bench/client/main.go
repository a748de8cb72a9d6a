// The client of the benchmark: KMS v2 over the Unix socket as kube-apiserver's grpc-go speaks it, and the same work as raw Transit calls to
// OpenBao. Orders come as JSON, one a line, on standard input; every answer is one JSON line on standard output. It keeps its connections
// between orders and ends with its input.
//
//	{"do":"prepare","count":256}                          what the Decrypts ask for; more of it when asked again
//	{"do":"measure","target":"decrypt","inFlight":16,…}   answers "begun" after the warm-up, "measured" at its end
//	{"do":"stop"}                                         ends the measurement
//	{"do":"first","wanted":"ok"}                          answers "first" when a Status is answered, or answered with ok
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync"
)

// An order of the driver; what a kind of order does not name is left out.
type order struct {
	Do     string `json:"do"`
	Count  int    `json:"count"`
	Wanted string `json:"wanted"`
	plan
}

// What is answered, beside the members of its kind.
type answer struct {
	Event string `json:"event"`
	Why   string `json:"why,omitempty"`
}

func main() {
	socket := flag.String("socket", "", "path of the KMS socket")
	bao := flag.String("openbao", "", "URL of OpenBao")
	ca := flag.String("ca", "", "file with the CA of OpenBao")
	mount := flag.String("mount", "transit", "path of the Transit mount")
	key := flag.String("key", "", "name of the Transit key")
	flag.Parse()
	// Not among the arguments, which everybody on the machine can read.
	transit, err := newTransit(*bao, *ca, *mount, *key, os.Getenv("BAO_TOKEN"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	serve(&client{kms: &kmsSocket{path: *socket}, transit: transit})
}

var output sync.Mutex

func say(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Printf("%s\n", line)
}

func serve(client *client) {
	lines := bufio.NewScanner(os.Stdin)
	var stop chan struct{}
	for lines.Scan() {
		var next order
		if err := json.Unmarshal(lines.Bytes(), &next); err != nil {
			say(answer{Event: "refused", Why: err.Error()})
			continue
		}
		// One order at a time; only a stop may come in between.
		if next.Do == "stop" {
			if stop != nil {
				close(stop)
				stop = nil
			}
			continue
		}
		stop = make(chan struct{})
		go obey(client, next, stop)
	}
}

func obey(client *client, next order, stop <-chan struct{}) {
	var err error
	switch next.Do {
	case "prepare":
		if err = client.prepare(next.Count); err == nil {
			say(answer{Event: "prepared"})
		}
	case "measure":
		var result measured
		if result, err = client.measure(next.plan, stop, func() { say(answer{Event: "begun"}) }); err == nil {
			say(result)
		}
	case "first":
		if err = client.kms.first(next.Wanted, stop); err == nil {
			say(answer{Event: "first"})
		}
	default:
		err = fmt.Errorf("unknown order %q", next.Do)
	}
	if err != nil {
		say(answer{Event: "refused", Why: err.Error()})
	}
}
