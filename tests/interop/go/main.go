// Command gopeer drives the real gocraft/work library for interoperability tests.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/gomodule/redigo/redis"
)

// stdout is the real standard output. gocraft/work prints its own errors to
// os.Stdout, which would break the line protocol, so main points that at stderr.
var stdout io.Writer = os.Stdout

var stdoutMu sync.Mutex

// emit writes one JSON line in a single unbuffered write.
func emit(v interface{}) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		fatal(err)
	}
	stdoutMu.Lock()
	defer stdoutMu.Unlock()
	if _, err := io.WriteString(stdout, b.String()); err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "gopeer:", err)
	os.Exit(1)
}

// common holds the flags every subcommand takes.
type common struct {
	redis string
	ns    string
}

func newFlags(name string) (*flag.FlagSet, *common) {
	c := &common{}
	fs := flag.NewFlagSet(name, flag.ExitOnError)
	fs.StringVar(&c.redis, "redis", "127.0.0.1:6379", "host:port or redis:// URL")
	fs.StringVar(&c.ns, "ns", "work", "namespace")
	return fs, c
}

func newRedisPool(addr string, size int) *redis.Pool {
	return &redis.Pool{
		MaxActive: size,
		MaxIdle:   size,
		Wait:      true,
		Dial: func() (redis.Conn, error) {
			if strings.Contains(addr, "://") {
				return redis.DialURL(addr)
			}
			return redis.Dial("tcp", addr)
		},
	}
}

func main() {
	os.Stdout = os.Stderr
	commands := map[string]func([]string){
		"enqueue": runEnqueue,
		"work":    runWork,
		"client":  runClient,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: gopeer enqueue|work|client [flags]")
		os.Exit(2)
	}
	commands[os.Args[1]](os.Args[2:])
}
