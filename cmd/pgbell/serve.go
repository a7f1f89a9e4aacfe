package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/sse"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "serve the changes of the attached tables over SSE",
		Description: "GET /events?scope=NAME is the stream; /live/NAME, /presence, /healthz, /readyz and /metrics are the other routes, / is a status page.\n" +
			"The first signal to end drains the streams, the second ends at once.",
		Flags: append([]cli.Flag{
			addrFlag(),
			durationFlag("drain", 10*time.Second, "on shutdown, spread the end of the streams over this time"),
			durationFlag("retention", time.Hour, "keep changes in the journal for at least this time; the same for all servers of a database"),
			stringFlag("wake", "auto", "auto: writers ring with NOTIFY while it is quiet; poll: they never do, so that two-phase commit works. The same for all servers of a database"),
			stringFlag("log-level", "info", "debug, info, warn or error"),
			statusFlag(),
			corsFlag(),
			tlsCertFlag(),
			tlsKeyFlag(),
		}, slices.Concat(authFlags(), limitFlags(), liveFlags())...),
		Action: serve,
	}
}

func addrFlag() cli.Flag {
	return stringFlag("addr", "127.0.0.1:8080", "listen on `HOST:PORT`")
}

func serve(ctx context.Context, c *cli.Command) error {
	if err := noArguments(c); err != nil {
		return err
	}
	conf, err := databaseConfig(c)
	if err != nil {
		return err
	}
	conf.OnNotice = nil // each new connection may repeat the same ones
	if c.Duration("drain") < 0 {
		return usagef("--drain is a time of zero or more, such as 10s")
	}
	if c.Duration("retention") < time.Second {
		return usagef("--retention is a time of a second or more, such as 1h")
	}
	wake := c.String("wake")
	if wake != "auto" && wake != "poll" {
		return usagef("--wake is auto or poll")
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return usagef("--log-level is one of debug, info, warn, error")
	}
	guard, err := crossOrigin(c.StringSlice("cors-origin"))
	if err != nil {
		return err
	}
	log := newLogger(c.Root().ErrWriter, level)
	authenticate, err := authentication(c, log)
	if err != nil {
		return err
	}
	https, err := newTLS(c.String("tls-cert"), c.String("tls-key"), log)
	if err != nil {
		return err
	}
	web := sse.Config{Authenticate: authenticate}
	if err := setLimits(c, &web); err != nil {
		return err
	}
	live, err := liveConfig(c, log)
	if err != nil {
		return err
	}
	web.MaxLive = c.Int("max-live-per-stream")
	if c.Bool("jwt-query-param") {
		web.NoArguments = []string{"token"}
	}
	// The port first: nothing else has started if it is taken.
	ln, err := listen(c)
	if err != nil {
		return err
	}
	defer ln.Close()
	authorizer, err := askDatabase(ctx, c, conf, log)
	if err != nil {
		return err
	}
	web.Authorize = authorization(c, authorizer, log)
	if c.IsSet("groups-sql") {
		web.Groups = authorizer.Groups
	}
	s := &server{
		conf:       conf,
		listener:   ln,
		web:        web,
		authorizer: authorizer,
		live:       live,
		drain:      c.Duration("drain"),
		retention:  c.Duration("retention"),
		poll:       wake == "poll",
		status:     c.Bool("status"),
		named:      c.String("auth") != "none",
		anonymous:  c.String("auth") == "none",
		tls:        https,
		guard:      guard,
		log:        log,
	}
	return s.run(ctx)
}

// listen opens --addr.
func listen(c *cli.Command) (net.Listener, error) {
	addr := c.String("addr")
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, badAddr(c)
	}
	ln, err := net.Listen("tcp", addr)
	var dns *net.DNSError
	var port *net.AddrError
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, plainf(err, "%s is taken: stop what listens there, or choose another with --addr", addr)
	case errors.Is(err, syscall.EACCES):
		return nil, plainf(err, "%s needs more rights: choose a port above 1023 with --addr", addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, plainf(err, "%s is not an address of this machine: choose another with --addr", addr)
	case errors.As(err, &dns), errors.As(err, &port):
		return nil, badAddr(c)
	}
	return nil, err
}

func badAddr(c *cli.Command) error {
	return usagef("--addr %q is not HOST:PORT, such as 127.0.0.1:8080", c.String("addr"))
}
