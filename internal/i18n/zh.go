package i18n

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"sync"
)

// Each file holds the words of some pages, by the English text; errors.json
// holds the messages by code.
//
//go:embed zh-CN/*.json
var chineseFiles embed.FS

var chinese = sync.OnceValue(func() *catalogue {
	c, err := read(chineseFiles, "zh-CN")
	if err != nil {
		panic(err) // the files are part of the program
	}
	c.formats = formats{
		comma: "、", and: " 和 ", bytes: "字节", yes: "是", no: "否", thousands: ",",
		days: "天", hours: "小时", minutes: "分钟", seconds: "秒", date: "2006年1月2日 15:04 UTC",
	}
	return c
})

// read makes a catalogue of the files of a folder. What has no translation
// keeps its English words.
func read(files embed.FS, dir string) (*catalogue, error) {
	c := &catalogue{
		errors: maps.Clone(english.errors), fields: maps.Clone(english.fields), texts: maps.Clone(english.texts),
		pages: map[string]string{},
	}
	names, err := files.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range names {
		b, err := files.ReadFile(path.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		if f.Name() != "errors.json" {
			err = json.Unmarshal(b, &c.pages)
		} else {
			err = json.Unmarshal(b, &struct {
				Errors map[string]Message `json:"errors"`
				Fields map[string]string  `json:"fields"`
				Texts  map[string]string  `json:"texts"`
			}{c.errors, c.fields, c.texts})
		}
		if err != nil {
			return nil, fmt.Errorf("i18n: %s: %w", f.Name(), err)
		}
	}
	return c, nil
}
