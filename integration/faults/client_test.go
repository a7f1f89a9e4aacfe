package faults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// manner is how a client behaves. At the end all stay, and read as fast as they can.
type manner struct {
	page   bool          // starts from a page's query, with pgbell.cursor() read along
	stays  time.Duration // how long it stays connected, about, once it is live; 0 is for ever
	away   time.Duration // how long it is away at most, also between page and stream
	leaves int           // goes after so many frames
	pause  time.Duration // between any two frames that it reads
	stalls chan struct{} // reads nothing after 50 frames, until it is closed; nil is never
	buffer int           // of the socket, in bytes; 0 is the system's
	all    bool          // listens to all scopes, not just some
	waits  string        // for how long it asks to coalesce, and to spread; "" is not at all
}

// subscription is one client over all of its connections, and what it received.
type subscription struct {
	name   string
	user   string // "" is anonymous
	scopes []string
	manner manner

	live chan struct{} // closed once it has a start

	mu        sync.Mutex
	startedAt time.Time // zero: not yet
	startText string    // the cursor from which on it must miss nothing
	start     cursor
	page      map[int64]bool // what the page showed; nil: there was none
	frames    []frame
	conns     int
	tales     []tale

	changed chan struct{} // capacity 1: something was received
}

// tale is something that happened to a subscription, for people.
type tale struct {
	at   time.Time
	text string
}

// run is the client's life, until ctx is done: it comes back whenever its stream
// ends, as a browser does, though sooner.
func (s *subscription) run(ctx context.Context, w *world, rnd *rand.Rand) {
	since, lastID := "", ""
	for s.manner.page && since == "" && ctx.Err() == nil {
		var err error
		if since, err = s.openPage(ctx, w, rnd); err != nil {
			pause(ctx, 50*time.Millisecond)
		}
	}
	for ctx.Err() == nil {
		if s.manner.away > 0 && (since != "" || lastID != "") {
			pause(w.busy, time.Duration(rnd.Int64N(int64(s.manner.away))))
		}
		bell := w.bells[rnd.IntN(len(w.bells))]
		err := s.connect(ctx, w, bell.addr, since, &lastID, rnd)
		s.tell("stream of %s ended at id %s: %v", bell.addr, lastID, err)
		pause(ctx, rand.N(100*time.Millisecond))
	}
}

// openPage does what a page does: it reads the data and, in the same snapshot, the
// cursor to go on from.
func (s *subscription) openPage(ctx context.Context, w *world, rnd *rand.Rand) (since string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	shown, since, err := w.readPage(ctx, rnd.IntN(2) == 0)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page = make(map[int64]bool, len(shown))
	for _, id := range shown {
		s.page[id] = true
	}
	s.startedAt, s.startText = time.Now(), since
	close(s.live)
	return since, nil
}

// connect opens one stream and reads it until it ends, or the client goes.
func (s *subscription) connect(ctx context.Context, w *world, addr, since string, lastID *string, rnd *rand.Rand) error {
	if s.manner.stays > 0 {
		var leave context.CancelFunc
		ctx, leave = context.WithCancel(ctx)
		defer leave()
		go s.stay(ctx, time.Duration(rnd.ExpFloat64()*float64(s.manner.stays)), w.busy, leave)
	}
	query := url.Values{"scope": s.scopes}
	if since != "" {
		query.Set("since", since)
	}
	if s.manner.waits != "" {
		query.Set("coalesce", s.manner.waits)
		query.Set("spread", s.manner.waits)
	}
	conn, body, err := openStream(ctx, addr, query, s.user, *lastID, s.manner.buffer)
	if err != nil {
		var refused refusal
		if errors.As(err, &refused) && refused < 500 {
			s.flaw(fmt.Sprintf("refused with status %d, id %q, since %q", refused, *lastID, since))
		}
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	s.mu.Lock()
	s.conns++
	number := s.conns
	s.mu.Unlock()
	s.tell("stream %d from %s", number, *lastID)
	events := &eventReader{in: bufio.NewReaderSize(body, 1024), buffer: *lastID, lastID: *lastID}
	for n := 1; ; n++ {
		b, err := events.next()
		*lastID = events.lastID
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return err
		}
		s.receive(b, number)
		switch {
		case s.manner.leaves == n && w.busy.Err() == nil:
			return errLeft
		case s.manner.stalls != nil && n == 50:
			select {
			case <-s.manner.stalls:
			case <-w.busy.Done():
			}
		case s.manner.pause > 0:
			pause(w.busy, s.manner.pause)
		}
	}
}

// stay calls leave after a while, but not before the client is live, nor once the writers
// have ended: on a busy machine it might never get to the end of a large transaction.
func (s *subscription) stay(ctx context.Context, d time.Duration, busy context.Context, leave func()) {
	select {
	case <-s.live:
	case <-ctx.Done():
		return
	}
	if pause(ctx, d); busy.Err() == nil {
		leave()
	}
}

var errLeft = errors.New("the client left")

// refusal is the status of an answer that is no stream.
type refusal int

func (r refusal) Error() string { return fmt.Sprintf("status %d", int(r)) }

// openStream asks for a stream over a TCP connection of its own.
func openStream(ctx context.Context, addr string, query url.Values, user, lastID string, buffer int) (net.Conn, io.Reader, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	if buffer > 0 {
		err = conn.(*net.TCPConn).SetReadBuffer(buffer)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	headers := ""
	if user != "" {
		headers += "X-Forwarded-User: " + user + "\r\n"
	}
	if lastID != "" {
		headers += "Last-Event-ID: " + lastID + "\r\n"
	}
	if err == nil {
		_, err = fmt.Fprintf(conn, "GET /events?%s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n%s\r\n", query.Encode(), addr, headers)
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReaderSize(conn, 1024), nil)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = refusal(answer.StatusCode)
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, answer.Body, nil
}

// receive notes a frame.
func (s *subscription) receive(b block, conn int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.name == "ready" {
		s.ready(b)
	} else {
		f := readFrame(b)
		f.conn = conn
		s.frames = append(s.frames, f)
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// ready notes from where on nothing may be missed. s.mu is held.
func (s *subscription) ready(b block) {
	_, rest, _ := strings.Cut(b.data, `"cursor":"`)
	text, _, _ := strings.Cut(rest, `"`)
	c, err := parseCursor(text)
	if err != nil {
		s.frames = append(s.frames, frame{at: time.Now(), scope: s.scopes[0], flaw: "ready without a cursor", text: b.data})
		return
	}
	if s.startedAt.IsZero() {
		s.startedAt, s.startText, s.start = time.Now(), text, c
		close(s.live)
	}
}

func (s *subscription) flaw(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = append(s.frames, frame{at: time.Now(), scope: s.scopes[0], reset: true, flaw: what})
}

func (s *subscription) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tales = append(s.tales, tale{time.Now(), fmt.Sprintf(format, args...)})
}

// story returns what happened around a time. s.mu is held.
func (s *subscription) story(around time.Time) string {
	var b strings.Builder
	i := slices.IndexFunc(s.tales, func(t tale) bool { return t.at.After(around) })
	if i < 0 {
		i = len(s.tales)
	}
	for _, t := range s.tales[max(0, i-4):min(len(s.tales), i+4)] {
		fmt.Fprintf(&b, "    %s %s\n", clock(t.at), t.text)
	}
	return b.String()
}

// pause is for schedules of load and faults; nothing is waited for by it.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
