package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/pgbell/pgbell/internal/chromium"
	"github.com/pgbell/pgbell/internal/npm"
)

// axeVersion is of axe-core, which looks for what keeps people from using a page: names that a
// screen reader lacks, contrasts, an order of headings.
const axeVersion = "4.10.3"

// axe returns the script, fetched once by npm.
func axe(t *testing.T) string {
	t.Helper()
	npm.Need(t)
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "pgbell-axe-"+axeVersion)
	script := filepath.Join(dir, "node_modules", "axe-core", "axe.min.js")
	if _, err := os.Stat(script); err != nil {
		install := exec.CommandContext(t.Context(), "npm", "install", "--no-audit", "--no-fund", "--prefix", dir, "axe-core@"+axeVersion)
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", install.Args, err, out)
		}
	}
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Everybody can use the pages: on a phone, a tablet and a desk, in light and dark.
func TestPagesAreAccessible(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short")
	}
	chromium.Path(t)
	script := axe(t)
	d := startDemo(t)
	b := openTab(t, "about:blank")
	for _, path := range []string{"", "status"} {
		for _, width := range []int64{390, 768, 1280} {
			for _, scheme := range []string{"light", "dark"} {
				media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
				if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, media); err != nil {
					t.Fatal(err)
				}
				b.do(chromedp.EmulateViewport(width, 844), chromedp.Navigate(d.page+path))
				if path == "" {
					b.wait(live)
				}
				found := b.violations(script)
				if len(found) > 0 {
					t.Errorf("/%s, %d wide, %s:\n%s", path, width, scheme, strings.Join(found, "\n"))
				}
			}
		}
	}
}

// violations are what axe finds on the page.
func (b *tab) violations(script string) []string {
	b.t.Helper()
	b.eval(script)
	b.eval(`axe.run().then((result) => {
		window.found = result.violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + v.help + ": " + n.html.slice(0, 150)))
		window.passed = result.passes.length
	})`)
	b.wait(`window.passed > 10`)
	found, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](`window.found`))
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}
