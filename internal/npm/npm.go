// Package npm says whether tests can run npm.
package npm

import (
	"os"
	"os/exec"
	"testing"
)

// Need skips a test where there is no npm, but not where all tests have to run.
func Need(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("npm"); err == nil {
		return
	}
	const remedy = "npm is missing: install Node 18 or later (apt-get install nodejs npm)"
	if os.Getenv("CI") == "true" {
		t.Fatal(remedy)
	}
	t.Skip(remedy)
}
