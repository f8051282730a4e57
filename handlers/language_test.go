package handlers_test

import (
	"net/http"
	"strings"
	"testing"

	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
)

// The account's choice comes before the browser's, and that before what the
// browser asks for.
func TestLanguage(t *testing.T) {
	p := newPortal(t)
	dev := p.person("dev")
	b := p.as(dev)
	is := func(got *page, want string) {
		t.Helper()
		if got.attr("html", "lang") != want || got.Header.Get("Content-Language") != want {
			t.Errorf("%q, Content-Language %q, want %q", got.attr("html", "lang"), got.Header.Get("Content-Language"), want)
		}
		if !strings.Contains(strings.Join(got.Header.Values("Vary"), ","), "Accept-Language") {
			t.Errorf("Vary: %q", got.Header.Values("Vary"))
		}
	}
	for accept, want := range map[string]string{
		"": i18n.English, "zh-CN": i18n.Chinese, "zh": i18n.Chinese, "zh-Hans-SG": i18n.Chinese, "ZH-cn": i18n.Chinese,
		"en-GB,en;q=0.9,zh;q=0.8": i18n.English, "en;q=0.3, zh-CN;q=0.9": i18n.Chinese, "de, zh;q=0.5, en;q=0.4": i18n.Chinese, "zh;q=0, en": i18n.English,
		"de": i18n.English, "*": i18n.English, ";;;q=": i18n.English, "zh-CN;q=x": i18n.English, "\xff\xfe": i18n.English,
		strings.Repeat("a-", 5000): i18n.English, strings.Repeat("de,", 5000) + "zh": i18n.English,
	} {
		is(p.anonymous().with("Accept-Language", accept).get("/login"), want)
		is(b.with("Accept-Language", accept).get("/"), want)
	}

	// Nobody's choice stays in the browser, and leads back to the page.
	nobody := p.anonymous()
	got := nobody.with("Referer", p.url+"/login?next=%2Fexplorer").post("/language", "language", "zh-CN").is(http.StatusSeeOther)
	if got.Location != "/login?next=%2Fexplorer" {
		t.Errorf("leads to %s", got.Location)
	}
	is(nobody.with("Accept-Language", "en").get("/login"), i18n.Chinese)
	for referer, want := range map[string]string{
		p.url + "/setup/abc": "/setup/abc", "https://evil.example/explorer": "/login", p.url + "/login": "/login", "": "/login", p.url + "/login?next=//evil.example": "/login",
	} {
		if got := nobody.with("Referer", referer).post("/language", "language", "en"); got.Location != want {
			t.Errorf("from %q to %q", referer, got.Location)
		}
	}

	// The account's choice holds in every browser and is written down once.
	if got := b.post("/language", "language", "zh-CN", "next", "/explorer?q=a").is(http.StatusSeeOther); got.Location != "/explorer?q=a" {
		t.Errorf("leads to %s", got.Location)
	}
	b.post("/language", "language", "zh-CN", "next", "//evil.example").is(http.StatusSeeOther)
	other := p.as(dev)
	other.setCookie(&http.Cookie{Name: "lang", Value: "en", Path: "/"})
	is(other.with("Accept-Language", "en").get("/"), i18n.Chinese)
	is(other.with("Accept-Language", "en").get("/no/such/page"), i18n.Chinese)
	if n := p.db.Ent.AuditLog.Query().Where(auditlog.Action("user.set_language")).CountX(t.Context()); n != 1 {
		t.Errorf("%d entries", n)
	}
	for _, lang := range []string{"", "de", "zh-cn", "en\x00"} {
		b.post("/language", "language", lang).is(http.StatusUnprocessableEntity)
	}
	// A cookie that we did not make says nothing.
	stranger := p.anonymous()
	stranger.setCookie(&http.Cookie{Name: "lang", Value: "xx", Path: "/"})
	is(stranger.get("/login"), i18n.English)
}
