package gallery

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/docs"
)

// TestGuidePictures: the pictures of the guides are those that the camera
// keeps, so that none grows old by itself.
func TestGuidePictures(t *testing.T) {
	image := regexp.MustCompile(`!\[([^]]*)]\(([^)]*)\)`)
	shown := map[string]bool{}
	for _, slug := range docs.Slugs() {
		text, _ := docs.Read(slug)
		for _, m := range image.FindAllStringSubmatch(string(text), -1) {
			name, taken := strings.CutSuffix(path.Base(m[2]), ".webp")
			data, there := docs.Image(path.Base(m[2]))
			switch {
			case m[1] == "" || path.Dir(m[2]) != "images":
				t.Errorf("%s: image %q of %s", slug, m[1], m[2])
			case taken && !slices.Contains(Documented, name):
				t.Errorf("%s: the camera does not keep %s", slug, m[2])
			case !taken && !there:
				t.Errorf("%s: there is no %s", slug, m[2])
			case taken && there:
				if w, h, ok := docs.WebPSize(data); !ok || w != int(Light.Width) || h < 100 {
					t.Errorf("%s is %d × %d", m[2], w, h)
				}
			}
			shown[name] = true
		}
	}
	for _, name := range Documented {
		if name != "components" && name != "search" && !shown[name] { // these two are for those who design
			t.Errorf("no guide shows the picture %s", name)
		}
	}
}
