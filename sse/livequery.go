package sse

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/pgbell/pgbell/journal"
)

// LiveQuery is a live query with its arguments, as a client asks for it.
type LiveQuery struct {
	Name string
	Args []LiveArg // by name, none twice
}

// LiveArg is an argument of a live query, as text.
type LiveArg struct{ Name, Value string }

// String is the one form in which it is written: name?a=1&b=2, with the arguments by name, and
// all but letters, digits and _.~- percent-encoded.
func (q LiveQuery) String() string {
	var b strings.Builder
	b.WriteString(escape(q.Name))
	for i, a := range q.Args {
		b.WriteByte("?&"[min(i, 1)])
		b.WriteString(escape(a.Name) + "=" + escape(a.Value))
	}
	return b.String()
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// liveScope is what an AuthorizeFunc is asked about a live query, and the name of its frames.
func (q LiveQuery) liveScope() string { return livePrefix + q.String() }

const livePrefix = "live:"

// maxLiveBytes is the most that a live query may be long, as it is written.
const maxLiveBytes = 1024

// parseLive reads what String writes, in any order and encoding.
func parseLive(text string) (LiveQuery, error) {
	name, rest, _ := strings.Cut(text, "?")
	name, err := url.PathUnescape(name)
	if err != nil {
		return LiveQuery{}, err
	}
	return newLiveQuery(name, rest)
}

// newLiveQuery returns a query with arguments as an address has them.
func newLiveQuery(name, arguments string) (LiveQuery, error) {
	q := LiveQuery{Name: name}
	values, err := url.ParseQuery(arguments)
	if err != nil {
		return q, err
	}
	for name, all := range values {
		if len(all) > 1 {
			return q, errors.New("an argument is there more than once")
		}
		q.Args = append(q.Args, LiveArg{name, all[0]})
	}
	slices.SortFunc(q.Args, func(a, b LiveArg) int { return strings.Compare(a.Name, b.Name) })
	switch s := q.String(); {
	case name == "":
		return q, errors.New("it has no name")
	case len(s) > maxLiveBytes:
		return q, errors.New("it is longer than 1024 bytes")
	}
	return q, nil
}

// LiveQueries keeps the results of queries fresh. Its methods must be safe for concurrent use.
type LiveQueries interface {
	// Watch returns a watch of the result that a query has for id, or an error: ErrNoQuery,
	// an ArgumentError, or another, which gives a 503. It does not wait for the result. wake
	// is called whenever Version is another, by any goroutine, and neither blocks nor panics.
	Watch(ctx context.Context, id Identity, q LiveQuery, wake func()) (LiveWatch, error)

	// Result returns the result that a query has for id. Its errors are those of Watch. Fresh
	// has it run, though nothing is known to have changed.
	Result(ctx context.Context, id Identity, q LiveQuery, fresh bool) (LiveResult, error)
}

// LiveWatch is one that watches a result.
type LiveWatch interface {
	State() LiveState
	Close()
}

// LiveState is what is known of a result.
type LiveState struct {
	// Version counts the results, and what else a client must hear of. It is 0 until the query
	// was run for the first time, and 1 for the first result.
	Version uint64

	// Pending says that something happened after which the result may be another. It is so
	// before the bus's position covers what happened, and until Version tells of it.
	Pending bool
	UpTo    string // while Pending, a position of the bus up to which Version tells of all

	// Reset is why the result can't be told; empty if it can.
	Reset string

	// Ended says that the query is another, or none: who still wants it is to watch it anew.
	Ended bool

	// Since is a cursor: who had the result at one that includes it, and was told all that a
	// stream of this server told before that, has it as it is now. The zero Cursor: nobody is
	// known to.
	Since journal.Cursor

	Seen journal.Cursor // what the last run saw

	Rows *LiveRows // of Version, unless that has a Reset; nil while Version is 0
}

// LiveResult is a result.
type LiveResult struct {
	Rows   *LiveRows
	Cursor string // at which the query has this result
}

// ErrNoQuery says that there is no live query of a name.
var ErrNoQuery = errors.New("there is no such live query")

// ArgumentError says what is wrong with a live query's arguments, in words for who asked.
type ArgumentError struct{ Err error }

func (e *ArgumentError) Error() string { return e.Err.Error() }
func (e *ArgumentError) Unwrap() error { return e.Err }
