package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// What is to be measured. It ends after Seconds, after Calls, or with a stop, whatever is named and comes first.
type plan struct {
	// status, encrypt, decrypt, raw-encrypt or raw-decrypt.
	Target   string  `json:"target"`
	InFlight int     `json:"inFlight"`
	Seconds  float64 `json:"seconds"`
	Calls    int64   `json:"calls"`
	// Of the socket; 1 when left out.
	Connections int `json:"connections"`
	// Of one call; kube-apiserver's default of 3 s when left out.
	TimeoutMs int `json:"timeoutMs"`
	// Calls before the begin, not counted.
	WarmUp int `json:"warmUp"`
}

type measured struct {
	Event    string  `json:"event"`
	Target   string  `json:"target"`
	InFlight int     `json:"inFlight"`
	Seconds  float64 `json:"seconds"`
	// Answered well; rate and times are those of these calls alone.
	Served    int            `json:"served"`
	PerSecond float64        `json:"perSecond"`
	P50Ms     float64        `json:"p50Ms"`
	P99Ms     float64        `json:"p99Ms"`
	Failed    int            `json:"failed"`
	Errors    map[string]int `json:"errors"`
	// Between two calls that were answered well, or between the last of them and the end.
	LongestGapMs float64 `json:"longestGapMs"`
}

// What the workers of one measurement share.
type run struct {
	begun  time.Time
	left   atomic.Int64
	isOver atomic.Bool
	last   atomic.Int64
	gap    atomic.Int64
	mutex  sync.Mutex
	errors map[string]int
	failed int
}

func (client *client) measure(plan plan, stop <-chan struct{}, begun func()) (measured, error) {
	if plan.InFlight < 1 || (plan.Connections > plan.InFlight) {
		return measured{}, errors.New("inFlight must be at least 1 and the number of connections")
	}
	call, err := client.callOf(plan)
	if err != nil {
		return measured{}, err
	}
	timeout := 3 * time.Second
	if plan.TimeoutMs > 0 {
		timeout = time.Duration(plan.TimeoutMs) * time.Millisecond
	}
	once := func(worker int) error {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		return call(ctx, worker)
	}
	warmUp(plan, once)
	begun()
	run := &run{begun: time.Now(), errors: map[string]int{}}
	run.left.Store(1<<63 - 1)
	if plan.Calls > 0 {
		run.left.Store(plan.Calls)
	}
	over := make(chan struct{})
	go run.endWith(plan, stop, over)
	times := make([][]int64, plan.InFlight)
	var workers sync.WaitGroup
	for worker := range times {
		workers.Go(func() { times[worker] = run.work(worker, once) })
	}
	workers.Wait()
	close(over)
	return run.result(plan, slices.Concat(times...)), nil
}

// With as many in flight as later, so that every connection is there.
func warmUp(plan plan, once func(int) error) {
	var left atomic.Int64
	left.Store(int64(max(plan.WarmUp, 0)))
	var workers sync.WaitGroup
	for worker := range plan.InFlight {
		workers.Go(func() {
			for left.Add(-1) >= 0 {
				_ = once(worker)
			}
		})
	}
	workers.Wait()
}

func (run *run) endWith(plan plan, stop, over <-chan struct{}) {
	var end <-chan time.Time
	if plan.Seconds > 0 {
		end = time.After(time.Duration(plan.Seconds * float64(time.Second)))
	}
	select {
	case <-stop:
	case <-end:
	case <-over:
	}
	run.isOver.Store(true)
}

// Calls without a pause until the end. Returns the time of each call that was answered well, nanoseconds.
func (run *run) work(worker int, once func(int) error) []int64 {
	times := make([]int64, 0, 4096)
	for !run.isOver.Load() && run.left.Add(-1) >= 0 {
		began := time.Now()
		if err := once(worker); err != nil {
			run.refused(err)
			continue
		}
		now := time.Now()
		times = append(times, now.Sub(began).Nanoseconds())
		run.answered(now.Sub(run.begun).Nanoseconds())
	}
	return times
}

func (run *run) answered(now int64) {
	gap := now - run.last.Swap(now)
	for known := run.gap.Load(); gap > known && !run.gap.CompareAndSwap(known, gap); known = run.gap.Load() {
	}
}

func (run *run) refused(err error) {
	run.mutex.Lock()
	defer run.mutex.Unlock()
	run.failed++
	// A server that refuses everything must not fill the memory with texts.
	if _, isKnown := run.errors[err.Error()]; isKnown || len(run.errors) < 20 {
		run.errors[err.Error()]++
	}
}

func (run *run) result(plan plan, times []int64) measured {
	elapsed := time.Since(run.begun)
	run.answered(elapsed.Nanoseconds())
	slices.Sort(times)
	at := func(share float64) float64 {
		if len(times) == 0 {
			return 0
		}
		return float64(times[int(float64(len(times))*share)]) / 1e6
	}
	return measured{
		Event: "measured", Target: plan.Target, InFlight: plan.InFlight, Seconds: elapsed.Seconds(),
		Served: len(times), PerSecond: float64(len(times)) / elapsed.Seconds(), P50Ms: at(0.5), P99Ms: at(0.99),
		Failed: run.failed, Errors: run.errors, LongestGapMs: float64(run.gap.Load()) / 1e6,
	}
}
