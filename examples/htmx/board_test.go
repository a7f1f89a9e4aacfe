package main

import (
	"context"
	"testing"

	"github.com/pgbell/pgbell/internal/chromium"
)

// TestBoardInABrowser runs each case with htmx 2 and htmx 4, side by side in one
// browser; with -short with htmx 4 alone.
func TestBoardInABrowser(t *testing.T) {
	versions := []string{"htmx2", "htmx4"}
	if testing.Short() {
		versions = versions[1:]
	}
	browser := chromium.Start(t)
	for _, c := range []struct {
		name string
		run  func(w *world, browser context.Context)
	}{
		{"shows rows that come, change, move and go", rowsShow},
		{"shows a task to its new owner and no longer to the old one", ownersShow},
		{"shows what people do in it", ownWritesShow},
		{"shows what is a team's to who is in it", teamsShow},
		{"listens to a project that is new", newProjectShows},
		{"is fresh after going back", backIsFresh},
		{"says so when its stream has ended for good", endShows},
		{"leaves nothing that has ended where no text is there for it", endWithoutTextShows},
		{"has no forms for a task that is gone", goneTaskShows},
		{"says so when a change fails", failedWriteShows},
		{"asks who it is when the session is lost", lostSessionShows},
		{"shows a change between page and stream", changeBeforeStreamShows},
		{"shows changes made while the server restarts", restartLosesNothing},
		{"shows changes made while the connection is cut", cutLosesNothing},
		{"shows changes made while a proxy answers 502", badGatewayLosesNothing},
		{"begins after a proxy answered 502 at first", firstBadGatewayLosesNothing},
		{"asks again for a list that it didn't get", failedRefreshIsRepeated},
		{"shows changes made while it's hidden", hiddenLosesNothing},
	} {
		for _, htmx := range versions {
			t.Run(htmx+" "+c.name, func(t *testing.T) {
				t.Parallel()
				c.run(newWorld(t, htmx), browser)
			})
		}
	}
}
