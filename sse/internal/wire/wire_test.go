package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eachWire answers one request by test, over each wire.
func eachWire(t *testing.T, test func(c Wire, client net.Conn) error) {
	t.Helper()
	for name, writers := range map[string]*Writers{"response": nil, "socket": NewWriters()} {
		t.Run(name, func(t *testing.T) {
			clients, done := make(chan net.Conn), make(chan struct{})
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(done)
				c, hijacks := New(w, r, writers)
				if hijacks != (writers != nil) {
					t.Errorf("hijacks: %v", hijacks)
				}
				c.Wake() // before Open
				if err := c.Open(w, r, time.Now().Add(time.Minute)); err != nil {
					t.Error(err)
				}
				client := <-clients
				if err := test(c, client); err != nil {
					t.Error(err)
				}
				client.Close() // else Finish waits for it
				c.Finish(time.Now().Add(time.Minute))
				c.Wake() // after Finish
			}))
			defer srv.Close()
			client, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			fmt.Fprint(client, "GET / HTTP/1.0\r\n\r\n")
			clients <- client
			<-done
		})
	}
}

func TestNoWakeIsLostBeforeAWait(t *testing.T) {
	eachWire(t, func(c Wire, _ net.Conn) error {
		for range 3 {
			if err := c.Wait(time.Time{}); err != nil { // what wakes it came before
				return err
			}
			c.Wake()
		}
		return nil
	})
}

func TestWaitReturnsOnceItsTimeHasCome(t *testing.T) {
	eachWire(t, func(c Wire, _ net.Conn) error {
		for _, wait := range []time.Duration{-time.Hour, 0, time.Millisecond, time.Millisecond} {
			if err := c.Wait(time.Now().Add(wait)); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestClientThatLeavesEndsAWait(t *testing.T) {
	eachWire(t, func(c Wire, client net.Conn) error {
		client.Close()
		for c.Wait(time.Time{}) == nil {
		}
		return nil
	})
}

func TestWhatIsWrittenIsReceived(t *testing.T) {
	eachWire(t, func(c Wire, client net.Conn) error {
		read := bufio.NewReader(client)
		for i := range 3 {
			want := fmt.Sprintf("frame %d\n", i)
			if err := c.Write([]byte(want), time.Now().Add(time.Minute)); err != nil {
				return err
			}
			for line := ""; line != want; { // headers, and the sizes of chunks
				var err error
				if line, err = read.ReadString('\n'); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// The client of HTTP/1.1 can tell whether there was to be more.
func TestAbortedResponseIsNotComplete(t *testing.T) {
	for _, writers := range []*Writers{nil, NewWriters()} {
		for _, abort := range []bool{false, true} {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, _ := New(w, r, writers)
				by := time.Now().Add(time.Minute)
				if err := errors.Join(c.Open(w, r, by), c.Write([]byte("a"), by), c.Write(nil, by), c.Write([]byte("bc"), by)); err != nil {
					t.Error(err)
				}
				if abort {
					c.Abort(by)
				} else {
					c.Finish(by)
				}
			}))
			resp, err := srv.Client().Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(body) != "abc" || (err != nil) != abort {
				t.Errorf("hijacked %v, aborted %v: got %q, %v", writers != nil, abort, body, err)
			}
			srv.Close()
		}
	}
}
