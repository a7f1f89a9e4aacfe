package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/pgbell/pgbell/bus"
)

func printExplanation(out io.Writer, e explanation) error {
	paint := newPainter(out)
	var b strings.Builder
	key := string(e.Key)
	_ = json.Unmarshal(e.Key, &key) // as it was given, unless it's an object
	fmt.Fprintf(&b, "%s\n\n", paint(bold, printable(e.Table+" "+key)))
	if e.Exists {
		explainParts(&b, e)
		b.WriteString("\n")
	}
	colour, words := e.verdict()
	b.WriteString(paint(colour, printable(words)))
	b.WriteString("\n")
	for _, r := range e.Reasons {
		fmt.Fprintf(&b, "  because %s\n", printable(r))
	}
	for _, n := range e.Notes {
		fmt.Fprintf(&b, "%s %s\n", paint(yellow, "note:"), printable(n))
	}
	if e.Notification != "" {
		example := "its " + e.Op
		if e.Op == "update" {
			example = "an update of " + e.Changed
		}
		fmt.Fprintf(&b, "\n%s would notify, on channel pgbell:\n\n  %s\n", printable(example), printable(e.Notification))
	}
	if e.Frame != "" {
		frame := strings.TrimSuffix(e.Frame, "\n\n")
		fmt.Fprintf(&b, "\nand send, for each scope, to those who may hear of it:\n\n  %s\n", strings.ReplaceAll(printableLines(frame), "\n", "\n  "))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// explainParts is the table of what was found.
func explainParts(b *strings.Builder, e explanation) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	feed := "durable, " + e.State
	if !e.Durable {
		feed = "not " + feed
	}
	fmt.Fprintf(w, "  feed\t%s\n", printable(feed))
	label := "scopes"
	for _, s := range e.Scopes {
		name, words := s.Scope, ""
		switch {
		case s.Why != "":
			name, words = s.Template, "is none for this row: "+s.Why
		case s.Refused != "":
			words = s.Refused
		case s.Connections != nil:
			words = streamsWords(s.Connections)
		}
		fmt.Fprintf(w, "  %s\t%s", label, printable(name))
		if words != "" {
			fmt.Fprintf(w, "\t%s", printable(words))
		}
		fmt.Fprintln(w)
		label = ""
	}
	label = "audience"
	if e.row.Feed.Audience == nil {
		fmt.Fprintf(w, "  %s\teveryone\n", label)
	}
	for _, o := range e.Owners {
		if whom := whom(bus.Named(o.Users, o.Groups)); o.Why != "" {
			fmt.Fprintf(w, "  %s\tnobody\t%s\n", label, printable(o.Why))
		} else {
			fmt.Fprintf(w, "  %s\t%s\tby %s\n", label, printable(whom), printable(o.Column))
		}
		label = ""
	}
	switch {
	case len(e.Scopes) == 0: // there is nothing to ask
	case e.ServerError != "":
		fmt.Fprintf(w, "  server\t%s can't say who is subscribed: %s\n", printable(e.Server), printable(e.ServerError))
	default:
		fmt.Fprintf(w, "  server\t%s says who is subscribed\n", printable(e.Server))
	}
	w.Flush() // into memory
}

// streamsWords says who is subscribed: at most ten of them by name.
func streamsWords(all []bus.Connection) string {
	count := map[string]int{}
	var users []string
	for _, c := range all {
		user := c.UserID
		if user == "" {
			user = "anonymous"
		}
		if count[user]++; count[user] == 1 {
			users = append(users, user)
		}
	}
	if len(users) == 0 {
		return "nobody is subscribed"
	}
	var words []string
	for _, u := range users[:min(10, len(users))] {
		if count[u] > 1 {
			u += fmt.Sprintf(" (%d streams)", count[u])
		}
		words = append(words, u)
	}
	if more := len(users) - len(words); more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	return "subscribed: " + strings.Join(words, ", ")
}
