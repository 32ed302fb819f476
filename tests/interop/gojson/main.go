// Reads one described value per line and writes, per line, what encoding/json makes of it.
//
// A description is a JSON array that keeps apart what JSON confuses: ["i","-1"] int64, ["u","1"] uint64,
// ["f","0x1.8p+1"] float64, ["s","text"], ["b",true], ["n"], ["l",[VALUE...]], ["m",[[KEY,VALUE]...]].
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
)

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer out.Flush()
	lines := json.NewDecoder(in)
	for lines.More() {
		var described []json.RawMessage
		check(lines.Decode(&described))
		text, err := json.Marshal(value(described))
		check(err)
		out.Write(text)
		out.WriteByte('\n')
	}
}

func value(described []json.RawMessage) interface{} {
	switch tag := text(described[0]); tag {
	case "n":
		return nil
	case "b":
		var b bool
		check(json.Unmarshal(described[1], &b))
		return b
	case "s":
		return text(described[1])
	case "l":
		return list(described[1])
	case "m":
		return mapping(described[1])
	default:
		return number(tag, text(described[1]))
	}
}

func number(tag, digits string) (n interface{}) {
	var err error
	switch tag {
	case "i":
		n, err = strconv.ParseInt(digits, 10, 64)
	case "u":
		n, err = strconv.ParseUint(digits, 10, 64)
	case "f":
		n, err = strconv.ParseFloat(digits, 64)
	default:
		err = fmt.Errorf("unknown tag %q", tag)
	}
	check(err)
	return n
}

func list(raw json.RawMessage) []interface{} {
	var items [][]json.RawMessage
	check(json.Unmarshal(raw, &items))
	values := make([]interface{}, len(items))
	for i, item := range items {
		values[i] = value(item)
	}
	return values
}

func mapping(raw json.RawMessage) map[string]interface{} {
	var pairs [][2]json.RawMessage
	check(json.Unmarshal(raw, &pairs))
	values := make(map[string]interface{}, len(pairs))
	for _, pair := range pairs {
		var described []json.RawMessage
		check(json.Unmarshal(pair[1], &described))
		values[text(pair[0])] = value(described)
	}
	return values
}

func text(raw json.RawMessage) (s string) {
	check(json.Unmarshal(raw, &s))
	return s
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
