// The real Faktory server, and a worker and a producer on faktory_worker_go, in one program.
//
//	faktory serve [-still] [-wait DURATION] [flags of the server]   see serve.go
//	faktory work [flags]                                            see work.go
//	faktory push [-many N]                                          see push.go
//	faktory bench -mode MODE [flags]                                see bench.go
//
// All but the first find their server by FAKTORY_URL.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"syscall"
)

func main() {
	commands := map[string]func(){"serve": serve, "work": work, "push": push, "bench": bench}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: faktory serve|work|push|bench [flags]")
		os.Exit(2)
	}
	// What libraries print goes elsewhere, whoever has got hold of the standard output already.
	own, err := syscall.Dup(1)
	check(err)
	check(syscall.Dup3(2, 1, 0))
	output = os.NewFile(uintptr(own), "output")
	command := commands[os.Args[1]]
	os.Args = append(os.Args[:1], os.Args[2:]...) // the server reads its flags from there
	command()
}

var (
	printing sync.Mutex
	output   *os.File
)

// say prints one line of JSON, whole, whoever else prints.
func say(what any) {
	line, err := json.Marshal(what)
	check(err)
	printing.Lock()
	defer printing.Unlock()
	_, err = output.Write(append(line, '\n'))
	check(err)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "faktory:", err)
		os.Exit(1)
	}
}
