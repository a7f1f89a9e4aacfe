package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pgbell/pgbell/triggers"
)

// templatePart matches a column of a scope template, or a brace that is written twice.
var templatePart = regexp.MustCompile(`\{\{|\}\}|\{([^{}][^}]*)\}`)

// templateColumns are the columns that a scope template names.
func templateColumns(template string) []string {
	var columns []string
	for _, m := range templatePart.FindAllStringSubmatch(template, -1) {
		if m[1] != "" {
			columns = append(columns, m[1])
		}
	}
	return columns
}

// templateShape is a template without the columns' names: two of one shape may give
// the same scope.
func templateShape(template string) string {
	return templatePart.ReplaceAllStringFunc(template, func(part string) string {
		if len(part) == 2 {
			return part
		}
		return "{}"
	})
}

// openDoor is a scope that one feed guards by its audience and another sends to
// everyone.
type openDoor struct {
	scope   string // of the feed for everyone
	guarded string // the other's
	guard   triggers.Feed
}

// who says for whom the guarded feed is.
func (d openDoor) who() string {
	if len(d.guard.Audience) == 0 {
		return "lets nobody hear of " + d.guarded
	}
	return "guards " + d.guarded + " by " + strings.Join(d.guard.Audience, ", ")
}

// openDoors are the scopes of f, if that is for everyone, that other feeds guard: one
// for each of those.
func openDoors(f triggers.Feed, feeds []triggers.Feed) []openDoor {
	var all []openDoor
	if f.Audience != nil {
		return nil
	}
	for _, guard := range feeds {
		if guard.Audience == nil || guard.Table == f.Table {
			continue
		}
		for _, scope := range f.Scopes {
			if i := slices.IndexFunc(guard.Scopes, func(s string) bool { return templateShape(s) == templateShape(scope) }); i >= 0 {
				all = append(all, openDoor{scope, guard.Scopes[i], guard})
				break
			}
		}
	}
	return all
}

// openDoorFinding is what doctor says of it.
func openDoorFinding(d openDoor) finding {
	return finding{note, "", fmt.Sprintf("everyone hears of its rows in %s, though %s %s", d.scope, d.guard.Table, d.who()),
		"copy the owner into this table and attach it with that as its audience, or let serve --authorize-sql decide who may subscribe"}
}
