package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/triggers"
)

func TestScopesAreCountedByTemplate(t *testing.T) {
	feeds := []triggers.Feed{
		{Table: "public.tasks", Scopes: []string{"tasks", "project:{project_id}", "{owner}:{kind}", "odd {{x}} {id}"}},
		{Table: "public.notes", Scopes: []string{"project:{project_id}", "project:all", "notes"}},
	}
	got := groupScopes(map[string]int{
		"tasks": 3, "project:7": 2, "project:8": 1, "project:all": 4, "alice:x": 1, "odd%20%7Bx%7D%20secret": 1, "secret": 5, "secret2": 1,
	}, feeds)
	want := []group{
		{Template: "project:all", Scopes: 1, Subscriptions: 4},
		{Template: "project:{project_id}", Scopes: 2, Subscriptions: 3},
		{Template: "tasks", Scopes: 1, Subscriptions: 3},
		{Template: "odd {{x}} {id}", Scopes: 1, Subscriptions: 1},
		{Template: "{owner}:{kind}", Scopes: 1, Subscriptions: 1},
		{Template: "notes"},
		{Template: "other", Other: true, Scopes: 2, Subscriptions: 6},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want = []group{{Template: "other", Other: true, Scopes: 1, Subscriptions: 2}}
	if diff := cmp.Diff(want, groupScopes(map[string]int{"project:7": 2}, nil)); diff != "" {
		t.Errorf("without feeds, -want +got:\n%s", diff)
	}
}
