package listener

import (
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Over TLS one connection lasts, whatever number of times nothing came: rung, polling,
// waiting, and to say goodbye.
func TestOneConnectionLastsOverTLS(t *testing.T) {
	url := example.Database(t)
	w := start(t, url, options{
		Config: Config{Tick: 2 * time.Millisecond},
		conf: func(c *pgx.ConnConfig) {
			addr := behindTLS(t, c.Host, c.Port)
			c.Host, c.Port, c.Fallbacks = "127.0.0.1", uint16(addr.Port), nil
			c.TLSConfig = &tls.Config{InsecureSkipVerify: true}
		},
	})
	r := w.subscribe("tasks")
	for id := range 20 {
		before := w.l.Stats().Readings
		await(t, "it waited in vain a few times", func() bool { return w.l.Stats().Readings > before+5 })
		w.exec("insert into tasks (id) values ($1)", id)
		r.next()
	}
	w.exec("do $$ begin for i in 1000..1499 loop insert into tasks (id) values (i); commit; end loop; end $$") // under load it polls
	for range 500 {
		r.next()
	}
	if n := w.l.Stats().Connections; n != 1 {
		t.Errorf("connected %d times", n)
	}
	w.stop()
	if trouble := w.log.with("DEBUG "); len(trouble) > 0 || armed(t, w.db) {
		t.Errorf("at its end: %q, armed: %v", trouble, armed(t, w.db))
	}
}

// behindTLS is Postgres with a certificate of its own.
func behindTLS(t *testing.T, host string, port uint16) *net.TCPAddr {
	t.Helper()
	web := httptest.NewTLSServer(nil)
	web.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	network, address := pgconn.NetworkAddress(host, port)
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return // the test is over
			}
			go func() {
				defer client.Close()
				server, err := net.Dial(network, address)
				if err != nil {
					return // as who asked will see
				}
				defer server.Close()
				if _, err := io.ReadFull(client, make([]byte, 8)); err != nil { // SSLRequest
					return
				}
				if _, err := io.WriteString(client, "S"); err != nil {
					return
				}
				secure := tls.Server(client, &tls.Config{Certificates: web.TLS.Certificates})
				go func() {
					defer server.Close()
					_, _ = io.Copy(server, secure) // ends when either does
				}()
				_, _ = io.Copy(secure, server)
			}()
		}
	}()
	return ln.Addr().(*net.TCPAddr)
}
