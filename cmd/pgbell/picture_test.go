package main

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/pgbell/pgbell/internal/chromium"
)

var pictureDir = flag.String("picture", "", "where to write demo.png and demo.gif (make picture)")

// The README shows them: as small as they tell what happens.
const (
	pictureWidth, pictureHeight = 1000, 654
	largestPicture              = 400 << 10
)

// pointer is where a mouse would be: a screenshot has none.
const pointer = `(() => {
	const at = document.querySelector(%q).getBoundingClientRect();
	const pointer = document.querySelector("#pointer") ?? document.body.appendChild(document.createElement("div"));
	pointer.id = "pointer";
	pointer.style = "position: fixed; width: 22px; height: 30px; z-index: 9; background: #d2451e; pointer-events: none; " +
		"clip-path: polygon(0 0, 0 76%%, 22%% 60%%, 40%% 100%%, 58%% 92%%, 42%% 54%%, 72%% 54%%)";
	pointer.style.left = at.left + at.width * 0.6 + "px";
	pointer.style.top = at.top + at.height * 0.55 + "px";
})()`

// TestPictures plays what the README shows on the real page, with a picture of each step. The two files are
// kept with -picture; without it they are only looked at, as are those of the README.
func TestPictures(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short")
	}
	chromium.Path(t)
	d := startDemo(t)
	exec1(t, d.db, "truncate tasks, notes restart identity")
	exec1(t, d.db, `insert into tasks (title, done, owner) values ('Book the train to Lyon', false, 'alice'), ('Review the budget', true, 'alice'),
		('Order new chairs', false, 'bob'), ('Call the printer', false, 'bob'), ('Renew the certificates', true, 'bob')`)
	exec1(t, d.db, `insert into notes (owner, body) values ('alice', 'Spare key: Mrs Okafor'), ('bob', 'Gate code: 4711')`)
	b := openTab(t, "about:blank")
	b.do(chromedp.EmulateViewport(pictureWidth, pictureHeight), chromedp.Navigate(d.page))
	b.wait(live)
	b.eval(`document.documentElement.style.colorScheme = "light"`)

	var film film
	shoot := func(hold time.Duration) { film.add(b.shot(), hold) }
	press := func(selector string) {
		b.eval(fmt.Sprintf(pointer, selector))
		shoot(900 * time.Millisecond)
		b.click(selector)
	}
	shoot(1500 * time.Millisecond)
	for _, typed := range []string{"Water", " the", " plants"} {
		b.do(chromedp.SendKeys(chromedp.ID("alice-task"), typed))
		shoot(200 * time.Millisecond)
	}
	press("#alice [data-action=add-task] button")
	b.waitShown(aliceTasks, "Water the plants", true)
	b.waitShown(aliceLog, "insert", true)
	shoot(2 * time.Second)
	press(aliceTasks + " li:first-child [data-action=give-task]")
	b.waitShown(bobTasks, "Water the plants", true)
	b.waitShown(aliceTasks, "Water the plants", false)
	b.waitShown(bobLog, "moved in", true)
	b.waitShown(aliceLog, "moved out", true)
	shoot(2500 * time.Millisecond)
	press("#alice [data-action=share-note]")
	b.waitShown(bobNotes, "from Alice", true)
	shoot(3 * time.Second)

	last := film.shots[len(film.shots)-1]
	files := map[string][]byte{"demo.png": encode(t, func(w *bytes.Buffer) error { return png.Encode(w, last) })}
	files["demo.gif"] = encode(t, func(w *bytes.Buffer) error { return gif.EncodeAll(w, film.gif()) })
	for name, data := range files {
		wantPicture(t, name, data)
		if *pictureDir != "" {
			if err := os.WriteFile(filepath.Join(*pictureDir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		shown, err := os.ReadFile(filepath.Join("../../docs", name))
		if err != nil {
			t.Fatal(err)
		}
		wantPicture(t, "docs/"+name, shown)
	}
	animation, err := gif.DecodeAll(bytes.NewReader(files["demo.gif"]))
	if err != nil || len(animation.Image) != len(film.shots) {
		t.Errorf("%v, %d pictures in the animation, want %d", err, len(animation.Image), len(film.shots))
	}
}

// wantPicture checks that a README can show it.
func wantPicture(t *testing.T, name string, data []byte) {
	t.Helper()
	config, kind, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil || !strings.HasSuffix(name, kind) || config.Width != pictureWidth || config.Height != pictureHeight {
		t.Errorf("%s: %v, a %s of %d × %d pixels", name, err, kind, config.Width, config.Height)
	}
	if len(data) > largestPicture {
		t.Errorf("%s has %d bytes, want at most %d", name, len(data), largestPicture)
	}
}

func encode(t *testing.T, to func(*bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := to(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) eval(script string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](script))
}

func (b *tab) shot() *image.RGBA {
	b.t.Helper()
	data, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		b.t.Fatal(err)
	}
	rgba := image.NewRGBA(picture.Bounds())
	draw.Draw(rgba, rgba.Rect, picture, rgba.Rect.Min, draw.Src)
	return rgba
}

// film is a series of screenshots, each with the time that it is shown.
type film struct {
	shots []*image.RGBA
	holds []time.Duration
}

func (f *film) add(shot *image.RGBA, hold time.Duration) {
	f.shots, f.holds = append(f.shots, shot), append(f.holds, hold)
}

// gif makes an animation: the first picture, then what each changes of the one before.
func (f *film) gif() *gif.GIF {
	palette := f.palette()
	index := map[color.RGBA]uint8{}
	var g gif.GIF
	for i, shot := range f.shots {
		rect := shot.Rect
		if i > 0 {
			rect = changed(f.shots[i-1], shot)
		}
		frame := image.NewPaletted(rect, palette)
		for y := rect.Min.Y; y < rect.Max.Y; y++ {
			for x := rect.Min.X; x < rect.Max.X; x++ {
				c := shot.RGBAAt(x, y)
				at, ok := index[c]
				if !ok {
					at = uint8(palette.Index(c))
					index[c] = at
				}
				frame.SetColorIndex(x, y, at)
			}
		}
		g.Image = append(g.Image, frame)
		g.Delay = append(g.Delay, int(f.holds[i]/(10*time.Millisecond)))
		g.Disposal = append(g.Disposal, gif.DisposalNone)
	}
	return &g
}

// palette has the colours that most pixels have: a page has few, and shades at the edges of its letters.
func (f *film) palette() color.Palette {
	count := map[color.RGBA]int{}
	for _, shot := range f.shots {
		for i := 0; i < len(shot.Pix); i += 4 {
			count[color.RGBA{shot.Pix[i], shot.Pix[i+1], shot.Pix[i+2], 255}]++
		}
	}
	var all []color.RGBA
	for c := range count {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b color.RGBA) int { return count[b] - count[a] })
	var palette color.Palette
	for _, c := range all {
		// One that is nearly there already would take another's place.
		if n := len(palette); n < 256 && (n == 0 || !near(palette[palette.Index(c)].(color.RGBA), c)) {
			palette = append(palette, c)
		}
	}
	return palette
}

func near(a, b color.RGBA) bool {
	apart := func(a, b uint8) bool { return max(a, b)-min(a, b) > 6 }
	return !apart(a.R, b.R) && !apart(a.G, b.G) && !apart(a.B, b.B)
}

// changed is the smallest rectangle outside of which two pictures are the same.
func changed(a, b *image.RGBA) image.Rectangle {
	rect := image.Rectangle{}
	for y := b.Rect.Min.Y; y < b.Rect.Max.Y; y++ {
		for x := b.Rect.Min.X; x < b.Rect.Max.X; x++ {
			if a.RGBAAt(x, y) != b.RGBAAt(x, y) {
				rect = rect.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	if rect.Empty() {
		rect = image.Rect(0, 0, 1, 1) // a picture of a GIF has a pixel at least
	}
	return rect
}
