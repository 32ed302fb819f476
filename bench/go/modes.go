package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocraft/work"
)

// context is empty; the library insists on a struct type.
type context struct{}

type rateResult struct {
	Jobs    int     `json:"jobs"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate"`
}

type latencyResult struct {
	Jobs int     `json:"jobs"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	Max  float64 `json:"max_ms"`
}

func newRateResult(jobs int, took time.Duration) rateResult {
	return rateResult{jobs, took.Seconds(), float64(jobs) / took.Seconds()}
}

func jobName(i int) string { return fmt.Sprintf("bench%d", i) }

// newWorkerPool sizes Redis for one connection per worker, one per observer
// and a few for the pool's own loops, so that nothing waits for a connection.
func newWorkerPool(c *config, handler func(*work.Job) error) *work.WorkerPool {
	pool := work.NewWorkerPool(context{}, c.concurrency, c.ns, newRedisPool(c.redis, 2*int(c.concurrency)+10))
	for i := 0; i < c.names; i++ {
		pool.Job(jobName(i), handler)
	}
	return pool
}

func drain(c *config) (interface{}, error) {
	if err := seed(c); err != nil {
		return nil, err
	}
	var ran int64
	done := make(chan time.Time, 1)
	pool := newWorkerPool(c, func(*work.Job) error {
		if atomic.AddInt64(&ran, 1) == int64(c.jobs) {
			done <- time.Now()
		}
		return nil
	})
	started := time.Now()
	pool.Start()
	defer pool.Stop()
	select {
	case ended := <-done:
		return newRateResult(c.jobs, ended.Sub(started)), nil
	case <-time.After(c.timeout):
		return nil, fmt.Errorf("only %d of %d jobs ran", atomic.LoadInt64(&ran), c.jobs)
	}
}

// document has the members and order of the library's own encoding.
type document struct {
	Name string                 `json:"name"`
	ID   string                 `json:"id"`
	T    int64                  `json:"t"`
	Args map[string]interface{} `json:"args"`
}

// seed fills the queues by pipelined pushes: one by one would take longer than
// the drain that is measured.
func seed(c *config) error {
	const batch = 1000
	pool := newRedisPool(c.redis, 1)
	defer pool.Close()
	conn := pool.Get()
	defer conn.Close()
	for from := 0; from < c.jobs; from += batch {
		to := from + batch
		if to > c.jobs {
			to = c.jobs
		}
		for i := from; i < to; i++ {
			name := jobName(i % c.names)
			var id [12]byte
			if _, err := rand.Read(id[:]); err != nil {
				return err
			}
			doc, err := json.Marshal(document{name, hex.EncodeToString(id[:]), time.Now().Unix(), nil})
			if err != nil {
				return err
			}
			if err := conn.Send("LPUSH", prefix(c.ns)+"jobs:"+name, doc); err != nil {
				return err
			}
		}
		// An empty command flushes and reads every outstanding reply.
		if _, err := conn.Do(""); err != nil {
			return err
		}
	}
	return nil
}

func enqueueSequential(c *config) (interface{}, error) {
	return enqueueFrom(c, 1)
}

func enqueueConcurrent(c *config) (interface{}, error) {
	return enqueueFrom(c, c.goroutines)
}

func enqueueFrom(c *config, goroutines int) (interface{}, error) {
	enqueuer := work.NewEnqueuer(c.ns, newRedisPool(c.redis, goroutines))
	var next int64
	errs := make(chan error, goroutines)
	var wg sync.WaitGroup
	started := time.Now()
	for g := 0; g < goroutines; g++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := int(atomic.AddInt64(&next, 1)) - 1
				if i >= c.jobs {
					return
				}
				if _, err := enqueuer.Enqueue(jobName(i%c.names), nil); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	wg.Wait()
	took := time.Since(started)
	select {
	case err := <-errs:
		return nil, err
	default:
		return newRateResult(c.jobs, took), nil
	}
}

func latency(c *config) (interface{}, error) {
	const perSecond, seconds = 100, 5
	const total = perSecond * seconds
	var sent [total]time.Time
	var mu sync.Mutex
	waits := make([]float64, 0, total)
	done := make(chan struct{})
	pool := newWorkerPool(c, func(job *work.Job) error {
		now := time.Now()
		i := job.ArgInt64("i")
		if err := job.ArgError(); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		waits = append(waits, float64(now.Sub(sent[i]))/float64(time.Millisecond))
		if len(waits) == total {
			close(done)
		}
		return nil
	})
	pool.Start()
	defer pool.Stop()
	time.Sleep(c.idle) // let the workers reach their longest polling pause

	enqueuer := work.NewEnqueuer(c.ns, newRedisPool(c.redis, 2))
	ticker := time.NewTicker(time.Second / perSecond)
	defer ticker.Stop()
	for i := 0; i < total; i++ {
		<-ticker.C
		mu.Lock()
		sent[i] = time.Now()
		mu.Unlock()
		if _, err := enqueuer.Enqueue(jobName(i%c.names), work.Q{"i": i}); err != nil {
			return nil, err
		}
	}
	select {
	case <-done:
	case <-time.After(c.timeout):
		return nil, fmt.Errorf("jobs were lost")
	}
	sort.Float64s(waits)
	return latencyResult{total, percentile(waits, 50), percentile(waits, 99), waits[total-1]}, nil
}

// percentile takes the nearest rank of sorted values.
func percentile(sorted []float64, p float64) float64 {
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[rank-1]
}
