package listener

import (
	"os"
	"strings"
	"testing"
)

func TestReadmeHasTheGrants(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	list, _, _ := strings.Cut(grants, ", to the role")
	for grant := range strings.SplitSeq(list, ", and ") {
		if !strings.Contains(string(text), grant+" to pgbell_listener;") {
			t.Errorf("README.md does not have: %s", grant)
		}
	}
}
