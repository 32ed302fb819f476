// Package pools has as much of a pool of connections as goworker asks for: in rotation, each made when first needed.
package pools

import (
	"errors"
	"time"

	"golang.org/x/net/context"
)

// ErrClosed answers who asks a pool that is closed.
var ErrClosed = errors.New("resource pool is closed")

// Resource is what is pooled.
type Resource interface{ Close() }

// Factory makes one.
type Factory func() (Resource, error)

// ResourcePool lends each of its resources to one caller at a time; nil stands for one that is not made yet.
type ResourcePool struct {
	free    chan Resource
	factory Factory
}

// NewResourcePool has room for so many. None is closed for being idle.
func NewResourcePool(factory Factory, capacity, maxCap int, idleTimeout time.Duration) *ResourcePool {
	pool := &ResourcePool{make(chan Resource, maxCap), factory}
	for i := 0; i < capacity; i++ {
		pool.free <- nil
	}
	return pool
}

// Get waits for the one that was given back longest ago.
func (p *ResourcePool) Get(ctx context.Context) (Resource, error) {
	select {
	case resource, open := <-p.free:
		if !open {
			return nil, ErrClosed
		}
		if resource != nil {
			return resource, nil
		}
		made, err := p.factory()
		if err != nil {
			p.free <- nil
		}
		return made, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Put gives one back.
func (p *ResourcePool) Put(resource Resource) { p.free <- resource }

// Close waits until all are back, and closes them.
func (p *ResourcePool) Close() {
	for i := 0; i < cap(p.free); i++ {
		if resource := <-p.free; resource != nil {
			resource.Close()
		}
	}
	close(p.free)
}
