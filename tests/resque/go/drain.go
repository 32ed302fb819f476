package main

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/benmanns/goworker"
	"github.com/garyburd/redigo/redis"
)

type rateResult struct {
	Jobs    int     `json:"jobs"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate"`
}

// runDrain fills a queue, and measures how fast jobs that do nothing are worked.
func runDrain(argv []string) {
	settings := goworker.WorkerSettings{QueuesString: "bench", IntervalFloat: 0.05}
	fs := newFlags("drain", &settings)
	fs.IntVar(&settings.Concurrency, "concurrency", 25, "workers")
	fs.IntVar(&settings.Connections, "connections", 2, "to Redis")
	jobs := fs.Int("jobs", 100000, "jobs")
	timeout := fs.Duration("timeout", 10*time.Minute, "give up after")
	fs.Parse(argv)
	use(settings)
	if *jobs < 1 || settings.Concurrency < 1 || settings.Connections < 1 {
		fatal(fmt.Errorf("-jobs, -concurrency and -connections must be at least 1"))
	}
	if err := seed(settings, *jobs); err != nil {
		fatal(err)
	}

	var ran int64
	done := make(chan time.Time, 1)
	goworker.Register("async", func(string, ...interface{}) error {
		if atomic.AddInt64(&ran, 1) == int64(*jobs) {
			done <- time.Now()
		}
		return nil
	})
	started := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- goworker.Work() }()
	select {
	case at := <-done:
		took := at.Sub(started).Seconds()
		emit(rateResult{*jobs, took, float64(*jobs) / took})
	case err := <-ended:
		fatal(fmt.Errorf("it ended after %d of %d jobs: %v", atomic.LoadInt64(&ran), *jobs, err))
	case <-time.After(*timeout):
		fatal(fmt.Errorf("only %d of %d jobs ran", atomic.LoadInt64(&ran), *jobs))
	}
	stop()
	<-ended
}

// seed fills the queue by pipelined pushes: one by one would take longer than the drain that is measured.
func seed(settings goworker.WorkerSettings, jobs int) error {
	const batch = 1000
	conn, err := redis.DialURL(settings.URI)
	if err != nil {
		return err
	}
	defer conn.Close()
	payload, err := json.Marshal(goworker.Payload{Class: "async", Args: []interface{}{}})
	if err != nil {
		return err
	}
	for from := 0; from < jobs; from += batch {
		for i := from; i < from+batch && i < jobs; i++ {
			if err := conn.Send("RPUSH", settings.Namespace+"queue:bench", payload); err != nil {
				return err
			}
		}
		// An empty command flushes and reads every outstanding reply.
		if _, err := conn.Do(""); err != nil {
			return err
		}
	}
	_, err = conn.Do("SADD", settings.Namespace+"queues", "bench")
	return err
}
