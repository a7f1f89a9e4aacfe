//go:build unix

package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// pair returns both ends of a TCP connection, the first as a stream has it.
func pair(t *testing.T) (*tcp, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	end := bare(server).(*tcp)
	t.Cleanup(func() { client.Close(); end.Close() })
	return end, client
}

// The poller forgets between two Reads what the next one does not look for.
func TestEndOverlookedBetweenTwoReadsIsSeenWhenTheStreamSettles(t *testing.T) {
	end, client := pair(t)
	interrupt := func() {
		t.Helper()
		if err := end.SetReadDeadline(longAgo); err != nil {
			t.Fatal(err)
		}
		if _, err := end.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v, want an interrupted Read", err)
		}
	}
	interrupt()
	client.Close()
	interrupt()
	begin := time.Now()
	for {
		if err := end.SetReadDeadline(time.Now().Add(SettleAfter)); err != nil {
			t.Fatal(err)
		}
		_, err := end.Read(make([]byte, 1))
		if err == io.EOF {
			break
		}
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took > 10*time.Minute {
			t.Fatalf("got %v after %v, want the end of the stream", err, took)
		}
	}
}

// What there is no room for is written all the same, once the client reads.
func TestWriteLongerThanTheRoomIsComplete(t *testing.T) {
	end, client := pair(t)
	b := make([]byte, 16<<20)
	for i := range b {
		b[i] = byte(i / 4096)
	}
	got := make(chan []byte)
	go func() {
		all := make([]byte, len(b))
		n, _ := io.ReadFull(client, all)
		got <- all[:n]
	}()
	n, err := end.Write(b)
	end.Close()
	if all := <-got; n != len(b) || err != nil || !bytes.Equal(all, b) {
		t.Errorf("wrote %d of %d bytes, %v; %d came", n, len(b), err, len(all))
	}
}

func TestInterruptedReadMakesNoGarbage(t *testing.T) {
	end, _ := pair(t)
	b := make([]byte, 1)
	if n := testing.AllocsPerRun(100, func() {
		_ = end.SetReadDeadline(longAgo)
		_, _ = end.Read(b)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
