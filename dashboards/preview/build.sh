#!/bin/sh
# Bundles the renderer into out/, with the icons and the font at the paths that @grafana/ui requests.
set -eu
mkdir -p out/fonts/inter
ln -sfn ../node_modules/@grafana/ui/dist/public out/build
cp node_modules/@fontsource/inter/files/inter-latin-400-normal.woff2 out/fonts/inter/Inter-Regular.woff2
cp node_modules/@fontsource/inter/files/inter-latin-500-normal.woff2 out/fonts/inter/Inter-Medium.woff2
exec node_modules/.bin/esbuild src/main.tsx --bundle --minify --jsx=automatic --outfile=out/preview.js \
	--loader:.ttf=empty --loader:.woff2=empty --log-level=error --define:process.env.NODE_ENV='"production"'
