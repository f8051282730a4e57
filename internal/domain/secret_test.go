package domain

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"log"
	"log/slog"
	"strings"
	"testing"
)

// TestSecretCannotPrint tries every way to make text of a secret that a program
// comes upon by mistake.
func TestSecretCannotPrint(t *testing.T) {
	const text = "CANARY-of-a-secret"
	s := Secret(text)
	type holder struct {
		Name string
		S    Secret
		P    *Secret
		M    map[string]Secret
		L    []Secret
		C    Credential
		A    any
	}
	h := holder{"x", s, &s, map[string]Secret{"k": s}, []Secret{s}, Credential{Server: "https://x", Token: s, ClientKey: s}, s}
	var said []string
	say := func(text string) { said = append(said, text) }
	values := []any{s, &s, h, &h, []any{s}, map[string]any{"s": s}, []holder{h}, h.C, &h.C, struct{ error }{fmt.Errorf("call: %v", s)}}
	for _, v := range values {
		for _, verb := range "vsqxXdboOUtTcgeE" { // not %p, which asks nobody; vet finds it
			for _, flags := range []string{"", "+", "#", "-", "0", " ", "20", ".3"} {
				say(fmt.Sprintf("%"+flags+string(verb), v))
			}
		}
		say(fmt.Sprint(v) + fmt.Sprintln(v))
		say(fmt.Errorf("wrapped: %w", fmt.Errorf("%v", v)).Error())
		say(errors.Join(errors.New("x"), fmt.Errorf("%+v", v)).Error())

		var b bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewJSONHandler(&b, nil), slog.NewTextHandler(&b, nil)} {
			l := slog.New(handler)
			l.Info("x", "v", v)
			l.With("v", v).WithGroup("g").Error("x", slog.Any("v", v), slog.Group("h", "v", v))
		}
		log.New(&b, "", 0).Print(v)
		if err := json.NewEncoder(&b).Encode(v); err != nil {
			say(err.Error())
		}
		if err := xml.NewEncoder(&b).Encode(v); err != nil {
			say(err.Error())
		}
		if err := gob.NewEncoder(&b).Encode(v); err != nil {
			say(err.Error())
		}
		if err := template.Must(template.New("").Parse(`{{.}}{{printf "%s" .}}<script>{{.}}</script>`)).Execute(&b, v); err != nil {
			say(err.Error())
		}
		func() {
			defer func() { say(fmt.Sprint("panic: ", recover())) }()
			panic(v)
		}()
		say(b.String())
	}
	hexes := hex.EncodeToString([]byte(text))
	for _, got := range said {
		for _, form := range []string{
			text, "CAN", base64.StdEncoding.EncodeToString([]byte(text))[:8], hexes[:8], strings.ToUpper(hexes)[:8], "43 41 4e", "67 65 78", "67,65,78", "0x43, 0x41",
		} {
			if strings.Contains(got, form) {
				t.Fatalf("%q says %s", got, form)
			}
		}
	}
	if len(said) < 1000 {
		t.Errorf("only %d texts", len(said))
	}
}

func TestCleanText(t *testing.T) {
	for in, want := range map[string]string{
		"plain":              "plain",
		"two\nlines\tand":    "two lines and",
		"\x1b[31mred":        "\uFFFD[31mred",
		"a\u202egnp.exe":     "a\uFFFDgnp.exe",
		"a\u2066b\u2069":     "a\uFFFDb\uFFFD",
		"pay\u200bpal\ufeff": "pay\uFFFDpal\uFFFD",
		"tag\U000E0041":      "tag\uFFFD",
		"nel\u0085ls\u2028":  "nel\uFFFDls\uFFFD",
		"\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", // Persian needs the joiner
		"👩\u200d💻 中文":                                      "👩\u200d💻 中文",
		"bad \xff byte":                                    "bad \uFFFD byte",
		strings.Repeat("é", 300):                           strings.Repeat("é", 256) + "…",
	} {
		if got := CleanText(in, 256); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
