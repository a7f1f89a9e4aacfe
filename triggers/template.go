package triggers

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pgbell/pgbell/journal/scope"
)

// Validate checks what can be checked without a database: that there is a table
// and a scope, that the templates are well formed, and that options go together. pgbell.attach checks all
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
	if f.Regroup != "" && f.Volatile {
		return errors.New("who is in which group is told through the journal: leave out the column to regroup by, or make the feed durable")
	}
	if f.Regroup != "" && f.Columns != nil {
		return errors.New("each change of a table that says who is in which group must be heard: leave out the columns that make an update count, or the one to regroup by")
	}
	for _, s := range f.Scopes {
		if err := checkTemplate(s); err != nil {
			return err
		}
	}
	for _, s := range f.Audience {
		if !scope.IsGroup(s) {
			continue
		}
		if _, err := scope.ParseGroup(s); err != nil {
			return err
		}
	}
	return nil
}

// checkTemplate checks the braces of a scope template, and that a scope without a
// column has a name that it may have.
func checkTemplate(s string) error {
	if s == "" {
		return errors.New("a scope template is empty")
	}
	t, err := scope.Parse(s)
	if err != nil {
		return err
	}
	if len(t.Columns()) == 0 && scope.Reserved(t.Literals()[0]) {
		return fmt.Errorf("scope %q is reserved: choose another name", s)
	}
	return nil
}
