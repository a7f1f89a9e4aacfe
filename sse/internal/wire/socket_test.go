package wire

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// endpointFunc notes the deadlines that are set.
type endpointFunc func(write time.Time)

func (f endpointFunc) Read([]byte) (int, error)           { return 0, io.EOF }
func (f endpointFunc) Write(b []byte) (int, error)        { return len(b), nil }
func (f endpointFunc) Close() error                       { return nil }
func (f endpointFunc) SetReadDeadline(time.Time) error    { return nil }
func (f endpointFunc) SetWriteDeadline(t time.Time) error { f(t); return nil }

func TestWriteDeadlineIsSeldomSetAndNeverTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var deadline time.Time
		set := 0
		c := &socket{conn: endpointFunc(func(by time.Time) { deadline = by; set++ })}
		limit := func(by time.Time) {
			t.Helper()
			left := time.Until(by)
			if err := c.limit(by); err != nil {
				t.Fatal(err)
			}
			if got := time.Until(deadline); got > left || got < left-left/8 {
				t.Errorf("a write that has %v gets %v", left, got)
			}
		}
		for range 1000 { // at 10 a second
			limit(time.Now().Add(10 * time.Second))
			time.Sleep(100 * time.Millisecond)
		}
		if set > 80 {
			t.Errorf("set %d times for 1000 writes", set)
		}
		expires := time.Now().Add(5 * time.Second)
		for time.Now().Before(expires) {
			limit(expires)
			time.Sleep(100 * time.Millisecond)
		}
		limit(time.Now().Add(time.Second)) // for the last frame
	})
}
