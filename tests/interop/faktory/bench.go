package main

import (
	"context"
	"flag"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	faktory "github.com/contribsys/faktory/client"
	worker "github.com/contribsys/faktory_worker_go"
)

const warm = 20 // jobs that a worker runs before it counts as idle

// bench measures faktory_worker_go, and prints what it found.
//
//	bench -mode drain -jobs N -concurrency N      jobs per second of a full queue
//	bench -mode enqueue -jobs N -goroutines N     jobs per second of PUSH, by so many callers at once
//	bench -mode bulk -jobs N                      the same of PUSHB with a thousand jobs each
//	bench -mode latency -jobs N -concurrency N    milliseconds from PUSH to handler, of an idle worker
func bench() {
	mode := flag.String("mode", "drain", "drain, enqueue, bulk or latency")
	jobs := flag.Int("jobs", 1000, "jobs")
	concurrency := flag.Int("concurrency", 25, "jobs at once")
	goroutines := flag.Int("goroutines", 1, "callers at once")
	flag.Parse()
	switch *mode {
	case "drain":
		fill(*jobs)
		say(map[string]float64{"rate": drain(*jobs, *concurrency)})
	case "enqueue":
		say(map[string]float64{"rate": enqueue(*jobs, *goroutines)})
	case "bulk":
		begun := time.Now()
		fill(*jobs)
		say(map[string]float64{"rate": float64(*jobs) / time.Since(begun).Seconds()})
	case "latency":
		took := latency(*jobs, *concurrency)
		say(map[string]float64{"p50_ms": took[len(took)/2], "p99_ms": took[len(took)*99/100]})
	default:
		check(fmt.Errorf("there is no mode %q", *mode))
	}
}

func fill(jobs int) {
	client, err := faktory.Open()
	check(err)
	defer client.Close()
	for left := jobs; left > 0; left -= 1000 {
		batch := make([]*faktory.Job, min(left, 1000))
		for number := range batch {
			batch[number] = faktory.NewJob("async", map[string]any{})
		}
		pushed(client, batch)
	}
}

// drain times from the first job that runs to the last one, as it is measured of the other worker.
func drain(jobs, concurrency int) float64 {
	var begun, ended atomic.Int64
	var left atomic.Int64
	left.Store(int64(jobs))
	done := make(chan struct{})
	stop := at(concurrency, func(time.Time) {
		begun.CompareAndSwap(0, time.Now().UnixNano())
		if left.Add(-1) == 0 {
			ended.Store(time.Now().UnixNano())
			close(done)
		}
	})
	<-done
	stop()
	return float64(jobs) / time.Duration(ended.Load()-begun.Load()).Seconds()
}

func enqueue(jobs, goroutines int) float64 {
	pool, err := faktory.NewPool(goroutines)
	check(err)
	var callers sync.WaitGroup
	begun := time.Now()
	for caller := range goroutines {
		callers.Add(1)
		go func() {
			defer callers.Done()
			for number := caller; number < jobs; number += goroutines {
				check(pool.With(func(client *faktory.Client) error {
					return client.Push(faktory.NewJob("async", map[string]any{}))
				}))
			}
		}()
	}
	callers.Wait()
	return float64(jobs) / time.Since(begun).Seconds()
}

func latency(jobs, concurrency int) []float64 {
	came := make(chan float64, jobs+warm)
	stop := at(concurrency, func(sent time.Time) { came <- time.Since(sent).Seconds() * 1000 })
	defer stop()
	client, err := faktory.Open()
	check(err)
	defer client.Close()
	took := make([]float64, 0, jobs)
	for number := range jobs + warm {
		check(client.Push(faktory.NewJob("async", map[string]any{"sent": time.Now().UnixMicro()})))
		if one := <-came; number >= warm {
			took = append(took, one)
		}
		time.Sleep(10 * time.Millisecond)
	}
	sort.Float64s(took)
	return took
}

// at runs a worker, whose jobs do this with the time at which they were sent; what it answers ends it.
func at(concurrency int, do func(time.Time)) func() {
	manager := worker.NewManager()
	manager.Concurrency = concurrency
	manager.ProcessStrictPriorityQueues("default")
	manager.Register("async", func(_ context.Context, args ...interface{}) error {
		sent, _ := args[0].(map[string]any)["sent"].(float64)
		do(time.UnixMicro(int64(sent)))
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		check(manager.RunWithContext(ctx))
		close(ended)
	}()
	return func() {
		cancel()
		<-ended
	}
}
