package pgtemp

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
)

// freePort returns a port of 127.0.0.1 that nothing listens on. It is below the
// range from which systems choose ports for outgoing connections, so that the
// port is still free after a Restart.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 20000 + rand.IntN(12000)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

// URL returns the connection string of the database postgres, for its superuser
// postgres. It holds the password if there is one.
func (s *Server) URL() string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User("postgres"),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}
	if s.cfg.Password != "" {
		u.User = url.UserPassword("postgres", s.cfg.Password)
	}
	return u.String()
}

// Port returns the port on 127.0.0.1. It stays the same over a Restart.
func (s *Server) Port() int { return s.port }

// SocketDir returns the directory of the server's Unix socket, "" if its name is
// too long for one.
func (s *Server) SocketDir() string {
	const longest = 103 // sockaddr_un on macOS; Linux has 4 more
	if len(s.dir.path)+len("/.s.PGSQL.65535") > longest {
		return ""
	}
	return s.dir.path
}

// BinDir returns the directory of the binaries in use.
func (s *Server) BinDir() string { return s.binDir }
