package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

// vendored is what npm has under these names: see static/README.md.
var vendored = map[string]string{
	"htmx2/LICENSE.htmx":  "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38",
	"htmx2/LICENSE.sse":   "a17d224ce9afdc21ec9491b76a2f5d036d19aa641ac4f85ca29c21f9f7e54fdf",
	"htmx2/htmx.min.js":   "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
	"htmx2/sse.min.js":    "98a46496de0c3605fbffdce9167ba427bdd9553184f83f149c261891a92c0136",
	"htmx4/LICENSE.htmx":  "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38",
	"htmx4/htmx.min.js":   "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
	"htmx4/hx-sse.min.js": "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
}

func TestVendoredFilesAreThoseOfTheirPackages(t *testing.T) {
	readme, err := static.ReadFile("static/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range vendored {
		data, err := static.ReadFile("static/" + path)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
			t.Errorf("%s has the SHA-256 %s, want %s", path, got, want)
		}
		if !strings.Contains(string(readme), "`"+path+"`") {
			t.Errorf("README.md does not say where %s comes from", path)
		}
	}
	for _, htmx := range []string{"htmx2", "htmx4"} {
		files, err := fs.Glob(static, "static/"+htmx+"/*")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", htmx, files, err)
		}
		for _, file := range files {
			if path := strings.TrimPrefix(file, "static/"); vendored[path] == "" {
				t.Errorf("%s is not among the files that are checked", path)
			}
		}
	}
}
