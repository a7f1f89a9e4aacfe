package faults

import (
	"net"
	"sync"
	"testing"
	"time"
)

// proxy is the network between pgbell and Postgres.
type proxy struct {
	ln net.Listener

	mu      sync.Mutex
	target  string
	swallow bool
	delay   func() time.Duration // of each piece of bytes; nil is none
	links   map[*link]bool
}

// link is one connection, both sides of it.
type link struct {
	near, far net.Conn
	deaf      bool // for good: what was swallowed can't be made up for
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, target: target, links: map[*link]bool{}}
	var work sync.WaitGroup
	work.Go(func() { p.accept(&work) })
	t.Cleanup(func() {
		ln.Close()
		p.cut()
		work.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.ln.Addr().String() }

// switchTo sends what comes from now on to target, and cuts what is there.
func (p *proxy) switchTo(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.cut()
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.near.Close()
		l.far.Close()
	}
}

// halfOpen makes all connections, those to come too, take bytes and pass none on,
// until heal. Both ends believe that they are connected.
func (p *proxy) halfOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow = true
	for l := range p.links {
		l.deaf = true
	}
}

// heal lets new connections be as good as any.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow = false
}

// slow delays each piece of bytes.
func (p *proxy) slow(delay func() time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

func (p *proxy) accept(work *sync.WaitGroup) {
	for {
		near, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		far, err := net.Dial("tcp", target)
		if err != nil {
			near.Close()
			continue
		}
		p.mu.Lock()
		l := &link{near: near, far: far, deaf: p.swallow}
		p.links[l] = true
		if p.target != target { // switched meanwhile
			near.Close()
		}
		p.mu.Unlock()
		work.Go(func() { p.pipe(l, near, far) })
		work.Go(func() { p.pipe(l, far, near) })
	}
}

func (p *proxy) pipe(l *link, from, to net.Conn) {
	defer func() {
		from.Close()
		to.Close()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		deaf, delay := l.deaf, p.delay
		p.mu.Unlock()
		if deaf {
			continue
		}
		if delay != nil {
			time.Sleep(delay()) // this is the fault
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
