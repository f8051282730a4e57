// Read by static/src/css/app.css through @config: where class names are found.
export default {
  content: ["./views/**/*.templ", "./internal/gallery/*.templ", "./views/**/*.go", "!./views/**/*_templ.go"],
};
