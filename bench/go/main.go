// Command gobench measures gocraft/work, the yardstick for worksong's figures.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

type config struct {
	redis       string
	ns          string
	jobs        int
	concurrency uint
	names       int
	goroutines  int
	rate        int
	idle        time.Duration
	timeout     time.Duration
	clean       bool
}

func main() {
	// The library prints its errors to os.Stdout; keep the result apart.
	stdout := os.Stdout
	os.Stdout = os.Stderr

	modes := map[string]func(*config) (interface{}, error){
		"drain":              drain,
		"enqueue":            enqueueSequential,
		"enqueue-concurrent": enqueueConcurrent,
		"latency":            latency,
		"feed":               feed,
	}
	if len(os.Args) < 2 || modes[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: gobench drain|enqueue|enqueue-concurrent|latency|feed [flags]")
		os.Exit(2)
	}
	c := &config{}
	fs := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	fs.StringVar(&c.redis, "redis", "127.0.0.1:6379", "host:port or redis:// URL")
	fs.StringVar(&c.ns, "ns", "gobench", "namespace")
	fs.IntVar(&c.jobs, "jobs", 100000, "jobs")
	fs.UintVar(&c.concurrency, "concurrency", 20, "workers of the pool")
	fs.IntVar(&c.names, "names", 10, "job names")
	fs.IntVar(&c.goroutines, "goroutines", 20, "callers of enqueue-concurrent")
	fs.IntVar(&c.rate, "rate", 100, "feed: jobs per second")
	fs.DurationVar(&c.idle, "idle", 3*time.Second, "latency: how long the pool idles first")
	fs.DurationVar(&c.timeout, "timeout", 10*time.Minute, "drain, latency: give up after")
	fs.BoolVar(&c.clean, "clean", false, "delete every key of the namespace before and after")
	fs.Parse(os.Args[2:])
	if c.jobs < 1 || c.names < 1 || c.goroutines < 1 || c.concurrency < 1 || c.rate < 1 {
		fatal(fmt.Errorf("-jobs, -names, -goroutines, -concurrency and -rate must be at least 1"))
	}

	if os.Args[1] != "feed" { // whose namespace is that of the worker that it feeds
		if err := prepare(c); err != nil {
			fatal(err)
		}
	}
	result, err := modes[os.Args[1]](c)
	if err != nil {
		fatal(err)
	}
	if err := json.NewEncoder(stdout).Encode(result); err != nil {
		fatal(err)
	}
	if c.clean {
		if err := wipe(c); err != nil {
			fatal(err)
		}
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "gobench:", err)
	os.Exit(1)
}

func newRedisPool(addr string, size int) *redis.Pool {
	return &redis.Pool{
		MaxActive: size,
		MaxIdle:   size, // fewer would redial all the time
		Wait:      true,
		Dial: func() (redis.Conn, error) {
			if strings.Contains(addr, "://") {
				return redis.DialURL(addr)
			}
			return redis.Dial("tcp", addr)
		},
	}
}

// prepare empties the namespace, or refuses one with leftovers, which would
// distort the figures.
func prepare(c *config) error {
	if c.clean {
		return wipe(c)
	}
	found := false
	err := eachKey(c, func(redis.Conn, []string) error {
		found = true
		return nil
	})
	if err == nil && found {
		err = fmt.Errorf("namespace %q is not empty; use -clean to delete its keys", c.ns)
	}
	return err
}

func wipe(c *config) error {
	return eachKey(c, func(conn redis.Conn, keys []string) error {
		_, err := conn.Do("UNLINK", redis.Args{}.AddFlat(keys)...)
		return err
	})
}

func eachKey(c *config, do func(redis.Conn, []string) error) error {
	if prefix(c.ns) == "" {
		return fmt.Errorf("an empty namespace would cover the whole database")
	}
	pool := newRedisPool(c.redis, 1)
	defer pool.Close()
	conn := pool.Get()
	defer conn.Close()
	pattern := globEscaper.Replace(prefix(c.ns)) + "*"
	for cursor := "0"; ; {
		reply, err := redis.Values(conn.Do("SCAN", cursor, "MATCH", pattern, "COUNT", 1000))
		if err != nil {
			return err
		}
		var keys []string
		if _, err := redis.Scan(reply, &cursor, &keys); err != nil {
			return err
		}
		if len(keys) > 0 {
			if err := do(conn, keys); err != nil {
				return err
			}
		}
		if cursor == "0" {
			return nil
		}
	}
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

func prefix(ns string) string {
	if ns == "" || strings.HasSuffix(ns, ":") {
		return ns
	}
	return ns + ":"
}
