package gallery

import (
	"bytes"
	"fmt"
	"image"

	"golang.org/x/image/webp"
)

// Tolerance is the share of a picture that may differ: another version of the
// browser draws letters a little differently, and the kept pictures are lossy.
const Tolerance = 0.01

// block is the side of the squares that are compared, in pixels, and step the
// difference of their mean brightness (0 to 255) that counts.
const (
	block = 8
	step  = 12
)

// Differs gives the share of squares, 0 to 1, that differ between two WebP
// pictures. Pictures of different sizes differ where one has nothing.
func Differs(a, b []byte) (float64, error) {
	x, err := webp.Decode(bytes.NewReader(a))
	if err != nil {
		return 0, fmt.Errorf("first picture: %w", err)
	}
	y, err := webp.Decode(bytes.NewReader(b))
	if err != nil {
		return 0, fmt.Errorf("second picture: %w", err)
	}
	bounds := x.Bounds().Union(y.Bounds())
	all, differ := 0, 0
	for top := bounds.Min.Y; top < bounds.Max.Y; top += block {
		for left := bounds.Min.X; left < bounds.Max.X; left += block {
			square := image.Rect(left, top, left+block, top+block)
			all++
			if d := brightness(x, square) - brightness(y, square); d > step || d < -step {
				differ++
			}
		}
	}
	return float64(differ) / float64(max(all, 1)), nil
}

// brightness is the mean of a square, -255 outside of the picture.
func brightness(m image.Image, square image.Rectangle) int {
	square = square.Intersect(m.Bounds())
	if square.Empty() {
		return -255
	}
	sum := 0
	for y := square.Min.Y; y < square.Max.Y; y++ {
		for x := square.Min.X; x < square.Max.X; x++ {
			r, g, b, _ := m.At(x, y).RGBA()
			sum += int(r>>8)*3 + int(g>>8)*6 + int(b>>8)
		}
	}
	return sum / (10 * square.Dx() * square.Dy())
}
