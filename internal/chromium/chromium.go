// Package chromium starts a browser for tests.
package chromium

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// pathEnv names the browser to use, or is "off".
const pathEnv = "PGBELL_TEST_BROWSER"

// patience is after how long a test gives up on its browser. It is no measure of speed.
const patience = 30 * time.Minute

// Start starts a Chromium or Chrome with nothing remembered and returns the context
// of its first tab, which ends with the test. Without one installed the test is skipped,
// but not where all tests have to run.
func Start(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(Path(t)), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(patience))
	for _, flag := range []string{"disable-quic", "disable-component-update"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("the browser does not start: %v", err)
	}
	return ctx
}

// Path returns where a Chromium or Chrome is. Without one it skips the test, as Start
// does: call it before anything slow.
func Path(t *testing.T) string {
	t.Helper()
	switch path := os.Getenv(pathEnv); path {
	case "":
	case "off":
		t.Skip("no browser: " + pathEnv + " is off")
	default:
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const remedy = "no Chromium or Chrome: install one (apt-get install chromium), set " + pathEnv + " to its path, or to off"
	if os.Getenv("CI") == "true" {
		t.Fatal(remedy)
	}
	t.Skip(remedy)
	return ""
}
