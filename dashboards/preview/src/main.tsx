// Draws the dashboard in the page's URL, and sets data-height when it has finished.
import { createTheme, dateTime, type DataFrame } from '@grafana/data';
import { GlobalStyles, PanelChrome, ThemeContext } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { configured, transformed } from './fields';
import { PANELS } from './panels';
import { frames, substitute, variables, type Scene } from './prometheus';

const [COLUMNS, ROW, GAP, MARGIN, HEAD] = [24, 30, 8, 16, 44];
const parameters = new URLSearchParams(location.search);
const scene: Scene = {
  url: parameters.get('prometheus')!,
  from: Number(parameters.get('from')),
  to: Number(parameters.get('to')),
};
const [from, to] = [dateTime(scene.from * 1000), dateTime(scene.to * 1000)];
const timeRange = { from, to, raw: { from, to } };
const theme = createTheme({ colors: { mode: 'dark' } });

interface Placed {
  panel: any;
  data: DataFrame[];
  title: string;
  description?: string;
}

const column = () => (innerWidth - 2 * MARGIN + GAP) / COLUMNS;
const width = (panel: any) => panel.gridPos.w * column() - GAP;
const height = (panel: any) => panel.gridPos.h * (ROW + GAP) - GAP;

async function main() {
  (window as any).__grafana_public_path__ = 'out/';
  const dashboard = await (await fetch(`../${parameters.get('dashboard')}.json`)).json();
  const selected = await variables(dashboard.templating.list, scene);
  const panels = dashboard.panels.flatMap((panel: any) => (panel.collapsed ? [panel, ...panel.panels] : [panel]));
  const placed: Placed[] = await Promise.all(
    panels.map(async (panel: any) => ({
      panel,
      data: panel.type === 'row' ? [] : await query(panel, selected),
      title: substitute(panel.title ?? '', selected, {}),
      description: panel.description,
    }))
  );
  const page = document.getElementById('page')!;
  const root = createRoot(page);
  root.render(<ThemeContext.Provider value={theme} children={<GlobalStyles />} />);
  await new Promise(requestAnimationFrame);
  await Promise.all([400, 500].map((weight) => document.fonts.load(`${weight} 12px Inter`))); // needed to measure text
  root.render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <h1 style={{ position: 'absolute', left: MARGIN, top: 10, fontSize: 18 }}>{dashboard.title}</h1>
      {placed.map(place)}
    </ThemeContext.Provider>
  );
  await new Promise((done) => setTimeout(done, 1500)); // icons and table columns appear after the first render
  const rows = Math.max(...panels.map(({ gridPos }: any) => gridPos.y + gridPos.h));
  const fold = panels.find(({ type }: any) => type === 'row')?.gridPos.y ?? rows;
  page.dataset.fold = String(HEAD + fold * (ROW + GAP) + GAP);
  page.dataset.height = String(HEAD + rows * (ROW + GAP) + GAP);
}

async function query(panel: any, selected: Record<string, string[]>): Promise<DataFrame[]> {
  try {
    const raw = await frames(panel, Math.round(width(panel)), selected, scene);
    return configured(panel, await transformed(panel, raw), theme);
  } catch (problem) {
    throw new Error(`panel "${panel.title}": ${problem}`);
  }
}

function place({ panel, data, title, description }: Placed, index: number) {
  const { x, y } = panel.gridPos;
  const [left, top] = [MARGIN + x * column(), HEAD + y * (ROW + GAP)];
  const style = { position: 'absolute', left, top, width: width(panel), height: height(panel) } as const;
  if (panel.type === 'row') {
    return (
      <div key={index} style={{ ...style, fontWeight: 500, lineHeight: `${ROW}px` }}>
        ⌄ {title}
      </div>
    );
  }
  const draw = PANELS[panel.type];
  if (!draw) {
    throw new Error(`panel "${title}": unknown type ${panel.type}`);
  }
  const padding = panel.type === 'table' ? 'none' : 'md';
  return (
    <div key={index} style={style}>
      <PanelChrome width={style.width} height={style.height} padding={padding} title={title} description={description}>
        {(inside, tall) => draw({ panel, frames: data, theme, timeRange, width: inside, height: tall })}
      </PanelChrome>
    </div>
  );
}

main().catch((problem) => {
  console.error(String(problem));
  document.getElementById('page')!.dataset.height = '100';
});
