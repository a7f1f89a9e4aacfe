package sse

import (
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// A response of net/http has buffers of 8 kB, and its goroutines another 8.
func TestHijackedStreamIsSmall(t *testing.T) {
	const n = 2000
	w := overSocket(t, settings{Config: Config{Authenticate: who}})
	conns := make([]net.Conn, n)
	open := func(i int) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := fmt.Fprintf(conn, "GET /events?scope=a HTTP/1.1\r\nHost: x\r\nWho: user %d\r\n\r\n", i); err != nil {
			t.Fatal(err)
		}
		readUntil(t, conn, `"scopes":["a"]}`)
		conns[i] = conn
	}
	open(0)
	before := inUse()
	for i := 1; i < n; i++ {
		open(i)
	}
	idle := (inUse() - before) / n
	for i := range uint64(20) {
		w.bus.Emit(change("a", i))
		w.bus.Advance(cursor(i + 2))
	}
	for _, conn := range conns {
		readUntil(t, conn, "id: "+cursor(21)+"\n") // that of the last is alone
	}
	loaded := (inUse() - before) / n
	t.Logf("%d bytes idle, %d after 20 events, both ends of the connection together", idle, loaded)
	if idle > 16<<10 || loaded > 16<<10 {
		t.Errorf("a stream takes %d bytes idle and %d after 20 events, want less than 16 kB", idle, loaded)
	}
}

// The goroutine of a stream begins with a stack of 2 kB, which has to be enough for a
// heartbeat: a stack that has grown hardly ever shrinks.
func TestHeartbeatLeavesTheStackSmall(t *testing.T) {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("with -race functions take more room on the stack: make test-all runs it without")
	}
	const n = 1000
	w := overSocket(t, settings{Config: Config{Heartbeat: time.Second}})
	readUntil(t, hand(t, w, "scope=a"), ":\n\n")
	before := stacksInUse()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = hand(t, w, "scope=a")
	}
	for _, conn := range conns {
		readUntil(t, conn, ":\n\n")
	}
	if each := (stacksInUse() - before) / n; each >= 3<<10 {
		t.Errorf("a stream's stack takes %d bytes after a heartbeat, want 2048", each)
	}
}

func stacksInUse() int {
	var m runtime.MemStats
	runtime.GC() // it frees those of goroutines that ended
	runtime.ReadMemStats(&m)
	return int(m.StackInuse)
}

// inUse returns the bytes of heap and stacks that are in use.
func inUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools keep goes with the second
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
