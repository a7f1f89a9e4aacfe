package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/internal/pgtemp"
)

// source is a server and where it came from.
type source struct {
	from   string // for people
	url    string
	shared bool         // with others: nothing may be left on it
	stop   func() error // nil if there is nothing to stop
}

// close undoes what was done to get the source. The zero source was never had.
func (s source) close() error {
	var err error
	if s.shared {
		err = admin.dropAll()
	}
	err = errors.Join(err, admin.close())
	if s.stop != nil {
		err = errors.Join(err, s.stop())
	}
	return err
}

// errAbsent means that a source isn't there, as opposed to broken.
var errAbsent = errors.New("not there")

// sources are the places to get a server from, best first.
var sources = []struct {
	name  string
	start func(context.Context) (source, error)
}{
	{"docker", fromDocker},
	{"binaries", fromBinaries},
	{"url", fromURL},
}

// choose starts a server from the first source that has one, and prints which.
func choose(ctx context.Context) (source, error) {
	only := os.Getenv("PGBELL_TEST_SOURCE")
	var whyNot []string
	for _, candidate := range sources {
		if only != "" && only != candidate.name {
			continue
		}
		s, err := candidate.start(ctx)
		if err == nil {
			if err = announce(ctx, s); err == nil {
				return s, nil
			}
			if s.stop != nil {
				err = errors.Join(err, s.stop())
			}
		}
		if only == "" && !errors.Is(err, errAbsent) {
			fmt.Fprintf(os.Stderr, "pgtest: %s: %v; trying what is next\n", candidate.name, err)
		}
		whyNot = append(whyNot, fmt.Sprintf("%s: %v", candidate.name, err))
	}
	if whyNot == nil {
		return source{}, fmt.Errorf("PGBELL_TEST_SOURCE is %q: use docker, binaries or url", only)
	}
	return source{}, fmt.Errorf("no PostgreSQL to test with: %s", strings.Join(whyNot, "; "))
}

// announce prints what the tests run on, once it answers.
func announce(ctx context.Context, s source) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	version, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), " ")
	fmt.Fprintf(os.Stderr, "pgtest: PostgreSQL %s, %s\n", version, s.from)
	return nil
}

func fromBinaries(ctx context.Context) (source, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := pgtemp.Start(ctx, pgtemp.Config{Settings: settings})
	if errors.Is(err, pgtemp.ErrNotInstalled) {
		return source{}, fmt.Errorf("%w: %w", errAbsent, err)
	}
	if err != nil {
		return source{}, err
	}
	return source{from: "installed binaries in " + s.BinDir(), url: s.URL(), stop: s.Stop}, nil
}

func fromURL(context.Context) (source, error) {
	const name = "PGBELL_TEST_DATABASE_URL"
	text := os.Getenv(name)
	if text == "" {
		return source{}, fmt.Errorf("%w: %s is not set", errAbsent, name)
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return source{}, fmt.Errorf("%s: must look like postgres://user:password@host:port/database", name)
	}
	return source{from: "the server of " + name, url: text, shared: true}, nil
}
