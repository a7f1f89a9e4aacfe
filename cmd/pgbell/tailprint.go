package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/sse"
)

// printer prints the records that touch one of scopes, or all if there are none.
type printer struct {
	w      io.Writer
	json   bool
	paint  func(colour, string) string
	scopes []string  // canonical
	user   *tailUser // nil: all that there is
	failed context.CancelCauseFunc

	mu     sync.Mutex
	widths [3]int // of table, key and scopes, so far
}

// maxWidth is the widest that a column is padded to: one long key does not push
// the rest off the screen for good.
const maxWidth = 36

func (p *printer) print(r journal.Record) {
	if p.user != nil && p.user.stale() {
		changed, err := p.user.look()
		if err != nil {
			p.failed(err)
			return
		}
		if changed {
			p.write([]tailLine{{At: time.Now(), Op: bus.OpReset, Reason: sse.ReasonGroups}})
		}
	}
	p.write(p.lines(r))
}

// gap prints that continuity can't be proved, for any scope.
func (p *printer) gap(e bus.ChangeEvent) {
	if e.Op == bus.OpReset && e.Table == "" {
		p.write([]tailLine{{At: time.Now(), Op: bus.OpReset, Reason: e.Reason}})
	}
}

func (p *printer) write(lines []tailLine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out strings.Builder
	for _, line := range lines {
		if !p.json {
			out.WriteString(p.text(line) + "\n")
			continue
		}
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false)
		if err := e.Encode(line); err != nil {
			p.failed(err)
			return
		}
	}
	if _, err := io.WriteString(p.w, out.String()); err != nil {
		p.failed(err)
	}
}

// tailLine is one change as tail prints it.
type tailLine struct {
	At       time.Time       `json:"at"`
	Table    string          `json:"table,omitempty"`
	Op       bus.Op          `json:"op"`
	Key      json.RawMessage `json:"key,omitempty"`
	Scopes   []string        `json:"scopes,omitempty"`
	Audience *bus.Audience   `json:"audience,omitempty"` // null: everyone; absent of a reset, which has none, and with --as
	Changed  []string        `json:"changed,omitempty"`
	Old      *tailSide       `json:"old,omitempty"`   // where the row was before, if it moved
	Moved    bus.Moved       `json:"moved,omitempty"` // with --as instead
	Origin   string          `json:"origin,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"`
	Reason   string          `json:"reason,omitempty"`
}

type tailSide struct {
	Key      json.RawMessage `json:"key,omitempty"`
	Scopes   []string        `json:"scopes"`
	Audience bus.Audience    `json:"audience"`
}

func (p *printer) lines(r journal.Record) []tailLine {
	line := tailLine{At: r.At, Table: r.Table, Op: r.Op, Origin: r.Origin}
	if line.At.IsZero() {
		line.At = time.Now()
	}
	if r.Reset != nil {
		if len(r.Reset.Templates) == 0 || !p.wants(nil, r.Reset) {
			return nil
		}
		line.Reason = r.Reset.Reason
		return []tailLine{line}
	}
	var lines []tailLine
	for _, c := range r.Changes {
		if p.user != nil {
			lines = append(lines, p.heard(line, r, c)...)
			continue
		}
		all := c.Scopes
		line := line
		line.Key, line.Scopes, line.Audience, line.Changed, line.Data = c.Key, c.Scopes, &c.Audience, c.Changed, c.Data
		if c.Old != nil {
			all = slices.Concat(all, c.Old.Scopes)
			line.Old = &tailSide{c.Old.Key, c.Old.Scopes, c.Old.Audience}
		}
		if p.wants(all, nil) {
			lines = append(lines, line)
		}
	}
	return lines
}

// heard returns what the user would hear of c, a change of r: a line for each way
// in which the row moved.
func (p *printer) heard(line tailLine, r journal.Record, c journal.Change) []tailLine {
	r.Changes = []journal.Change{c}
	var lines []tailLine
	for _, e := range r.Events() {
		if !p.user.sees(e.Audience) || !p.wants([]string{e.Scope}, nil) {
			continue
		}
		i := slices.IndexFunc(lines, func(l tailLine) bool { return l.Moved == e.Moved })
		if i < 0 {
			i = len(lines)
			line := line
			line.Key, line.Changed, line.Data, line.Moved = e.Key, e.Changed, e.Data, e.Moved
			lines = append(lines, line)
		}
		lines[i].Scopes = append(lines[i].Scopes, e.Scope)
	}
	return lines
}

func (p *printer) wants(scopes []string, reset *journal.Reset) bool {
	return len(p.scopes) == 0 || slices.ContainsFunc(p.scopes, func(s string) bool {
		return slices.Contains(scopes, s) || reset != nil && reset.Matches(s)
	})
}

// text is the line for people, in columns as wide as what they held so far.
func (p *printer) text(l tailLine) string {
	at, op := p.paint(dim, l.At.Local().Format("15:04:05.000")), p.column(-1, string(l.Op))
	if l.Op == bus.OpReset {
		table := l.Table
		if table == "" {
			table = "every scope" // a gap
		}
		return at + "  " + p.paint(inverse, op+"  "+p.column(0, table)+"  "+printable(l.Reason))
	}
	key, scopes := string(l.Key), strings.Join(l.Scopes, " ")
	if l.Old != nil {
		key = moved(string(l.Old.Key), key)
		scopes = movedScopes(l.Old.Scopes, l.Scopes)
	}
	words := []string{at, p.paint(opColours[l.Op], op), p.column(0, l.Table), p.paint(bold, p.column(1, key)), p.paint(cyan, p.column(2, scopes))}
	switch {
	case l.Old != nil:
		words = append(words, p.paint(yellow, printable("for "+moved(whom(l.Old.Audience), whom(*l.Audience)))))
	case l.Audience != nil:
		words = append(words, printable("for "+whom(*l.Audience)))
	case l.Moved != "":
		words = append(words, p.paint(yellow, "moved "+string(l.Moved)))
	}
	if len(l.Changed) > 0 {
		words = append(words, p.paint(dim, printable("changed "+strings.Join(l.Changed, ", "))))
	}
	if l.Origin != "" {
		words = append(words, p.paint(dim, printable("by "+l.Origin)))
	}
	return strings.TrimRight(strings.Join(words, "  "), " ")
}

var opColours = map[bus.Op]colour{bus.OpInsert: green, bus.OpUpdate: blue, bus.OpDelete: red, bus.OpPublish: magenta}

// column pads text to the widest of the i-th column so far; -1 is the op's.
func (p *printer) column(i int, text string) string {
	text = printable(text)
	width := len("publish")
	n := utf8.RuneCountInString(text)
	if i >= 0 {
		p.widths[i] = min(max(p.widths[i], n), maxWidth)
		width = p.widths[i]
	}
	return text + strings.Repeat(" ", max(0, width-n))
}

// movedScopes names the scopes that stayed, and then those that went and came.
func movedScopes(from, to []string) string {
	in := func(list []string) func(string) bool {
		return func(s string) bool { return slices.Contains(list, s) }
	}
	words := slices.DeleteFunc(slices.Clone(to), func(s string) bool { return !in(from)(s) })
	out, came := slices.DeleteFunc(slices.Clone(from), in(to)), slices.DeleteFunc(slices.Clone(to), in(from))
	if len(out)+len(came) > 0 {
		words = append(words, cmp.Or(strings.Join(out, " "), "none"), "->", cmp.Or(strings.Join(came, " "), "none"))
	}
	return strings.Join(words, " ")
}

func moved(from, to string) string {
	if from == to {
		return to
	}
	return from + " -> " + to
}

func whom(a bus.Audience) string {
	switch {
	case a.Everyone():
		return "everyone"
	case a.Nobody():
		return "nobody"
	}
	words := a.Users()
	for _, group := range a.Groups() {
		words = append(words, "group "+group)
	}
	return strings.Join(words, ", ")
}
