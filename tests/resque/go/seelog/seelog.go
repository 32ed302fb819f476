// Package seelog has as much of a logger as goworker asks for.
package seelog

import (
	"fmt"
	"io"
	"sync"
)

// LogLevel says from where on lines are written.
type LogLevel int

// InfoLvl leaves out what is for debugging.
const InfoLvl LogLevel = 2

// LoggerInterface is what goworker calls.
type LoggerInterface interface {
	Debugf(format string, params ...interface{})
	Infof(format string, params ...interface{})
	Warn(v ...interface{}) error
	Critical(v ...interface{}) error
	Criticalf(format string, params ...interface{}) error
}

// LoggerFromWriterWithMinLevel writes lines; none for debugging, whatever the level.
func LoggerFromWriterWithMinLevel(output io.Writer, minLevel LogLevel) (LoggerInterface, error) {
	return &lines{output: output}, nil
}

type lines struct {
	mu     sync.Mutex
	output io.Writer
}

func (l *lines) write(text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := io.WriteString(l.output, text+"\n")
	return err
}

func (l *lines) Debugf(format string, params ...interface{}) {}

func (l *lines) Infof(format string, params ...interface{}) { l.write(fmt.Sprintf(format, params...)) }

func (l *lines) Warn(v ...interface{}) error { return l.write(fmt.Sprint(v...)) }

func (l *lines) Critical(v ...interface{}) error { return l.write(fmt.Sprint(v...)) }

func (l *lines) Criticalf(format string, params ...interface{}) error {
	return l.write(fmt.Sprintf(format, params...))
}
