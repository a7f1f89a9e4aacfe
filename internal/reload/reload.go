// Package reload keeps up with files that are replaced while a program runs.
package reload

import (
	"sync"
	"sync/atomic"
	"time"
)

// Every is the least time from one look at the files to the next.
const Every = time.Second

// Value is what some files stand for: the last good one. Its methods are safe for
// concurrent use.
type Value[F comparable, V any] struct {
	read   func() (F, error)
	parse  func(F) (V, error)
	report func(V, error)

	good atomic.Pointer[V]

	looking sync.Mutex // held while the files are looked at
	looked  time.Time
	content F      // what good was made of
	problem string // what is wrong with the files since, as reported
}

// New returns the value that parse makes of what read returns: all that is in the
// files, since times and sizes miss one that is written over. Each later value goes to
// report, and what is wrong with the files, once until that changes. The three are
// never called at the same time.
func New[F comparable, V any](read func() (F, error), parse func(F) (V, error), report func(V, error)) (*Value[F, V], error) {
	v := &Value[F, V]{read: read, parse: parse, report: report, looked: time.Now()}
	content, err := read()
	if err != nil {
		return nil, err
	}
	first, err := parse(content)
	if err != nil {
		return nil, err
	}
	v.content = content
	v.good.Store(&first)
	return v, nil
}

// Get returns the value, made again if the files have changed. Only one caller waits
// for a look at them: the others go on with the value that there is.
func (v *Value[F, V]) Get() V {
	v.look(time.Now())
	return *v.good.Load()
}

func (v *Value[F, V]) look(now time.Time) {
	if !v.looking.TryLock() {
		return
	}
	defer v.looking.Unlock()
	if now.Sub(v.looked) < Every {
		return
	}
	v.looked = now
	content, err := v.read()
	if err == nil && content == v.content {
		v.problem = ""
		return
	}
	var next V
	if err == nil {
		next, err = v.parse(content)
	}
	switch {
	case err == nil:
		v.content, v.problem = content, ""
		v.good.Store(&next)
		v.report(next, nil)
	case err.Error() != v.problem:
		v.problem = err.Error()
		v.report(next, err)
	}
}
