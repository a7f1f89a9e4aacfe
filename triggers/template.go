package triggers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// reserved are the names of events that EventSource and pgbell itself use.
var reserved = []string{"open", "error", "message", "ready", "close"}

// Validate checks what can be checked without a database: that there is a table
// and a scope, and that the templates are well formed. pgbell.attach checks all
// of it again.
func (f Feed) Validate() error {
	if strings.TrimSpace(f.Table) == "" {
		return errors.New("no table named")
	}
	if len(f.Scopes) == 0 {
		return errors.New("no scopes: a feed needs at least one scope template, such as tasks or project:{project_id}")
	}
	if f.Volatile && len(f.Payload) > 0 {
		return errors.New("payload columns travel only through the journal: leave out the payload, or make the feed durable")
	}
	for _, s := range f.Scopes {
		if err := checkTemplate(s); err != nil {
			return err
		}
	}
	return nil
}

// checkTemplate checks the braces of a scope template: a column name stands in a
// pair of them, two of a kind are a literal one.
func checkTemplate(s string) error {
	if s == "" {
		return errors.New("a scope template is empty")
	}
	if slices.Contains(reserved, s) {
		return fmt.Errorf("scope %q is reserved: choose another name", s)
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case (c == '{' || c == '}') && i+1 < len(s) && s[i+1] == c:
			i++
		case c == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return fmt.Errorf("scope template %q: the brace at byte %d is not closed (a literal one is written {{)", s, i+1)
			}
			if end == 1 {
				return fmt.Errorf("scope template %q: no column name in the braces at byte %d", s, i+1)
			}
			i += end
		case c == '}':
			return fmt.Errorf("scope template %q: the brace at byte %d closes nothing (a literal one is written }})", s, i+1)
		}
	}
	return nil
}
