// Draws the dashboard in the page's URL, and sets data-height when it has finished.
import { createTheme, dateTime, type DataFrame } from '@grafana/data';
import { GlobalStyles, PanelChrome, ThemeContext } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { configured, transformed } from './fields';
import { PANELS } from './panels';
import { frames, substitute, variables, type Scene } from './prometheus';

const [COLUMNS, ROW, GAP, MARGIN, HEAD] = [24, 30, 8, 16, 56]; // HEAD: the variables, as in Grafana's kiosk mode
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
  const panels = laidOut(dashboard.panels, selected);
  const placed: Placed[] = await Promise.all(
    panels.map(async ({ panel, scope }) => ({
      panel,
      data: panel.type === 'row' ? [] : await query(panel, scope),
      title: substitute(panel.title ?? '', scope, {}),
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
      <Head dashboard={dashboard} selected={selected} />
      {placed.map(place)}
    </ThemeContext.Provider>
  );
  await new Promise((done) => setTimeout(done, 1500)); // icons and table columns appear after the first render
  const rows = Math.max(...panels.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h));
  page.dataset.height = String(HEAD + rows * (ROW + GAP) + GAP);
}

interface Copy {
  panel: any;
  scope: Record<string, string[]>;
}

/** The panels at their places: sections are open if the URL says so, and a panel is repeated for each value. */
function laidOut(list: any[], selected: Record<string, string[]>): Copy[] {
  let down = 0; // rows that what is below has moved
  const open = parameters.has('open');
  const copies: Copy[] = [];
  const add = (panel: any, scope = selected, place = panel.gridPos) =>
    copies.push({ panel: { ...panel, gridPos: { ...place, y: place.y + down } }, scope });
  for (const panel of list) {
    if (panel.repeat) {
      const values = selected[panel.repeat].length ? selected[panel.repeat] : [''];
      const wide = Math.max(COLUMNS / values.length, COLUMNS / panel.maxPerRow);
      const inRow = Math.floor(COLUMNS / wide);
      const { y, h } = panel.gridPos;
      values.forEach((value, i) => {
        const place = { x: (i % inRow) * wide, y: y + Math.floor(i / inRow) * h, w: wide, h };
        add(panel, { ...selected, [panel.repeat]: [value] }, place);
      });
      down += (Math.ceil(values.length / inRow) - 1) * h;
    } else {
      add({ ...panel, collapsed: panel.collapsed && !open });
      if (panel.collapsed && open) {
        panel.panels.forEach((inside: any) => add(inside));
        down += Math.max(...panel.panels.map(({ gridPos }: any) => gridPos.y + gridPos.h)) - panel.gridPos.y - 1;
      }
    }
  }
  return copies;
}

/** The title, and the selection of each variable. */
function Head({ dashboard, selected }: { dashboard: any; selected: Record<string, string[]> }) {
  const shown = dashboard.templating.list.filter(({ hide }: any) => !hide);
  const text = (variable: any) => {
    const values = selected[variable.name] ?? ['Prometheus'];
    return values.join() === variable.allValue ? 'All' : values.join(' + ');
  };
  const box = { border: `1px solid ${theme.colors.border.medium}`, padding: '5px 8px', marginRight: 8, fontSize: 12 };
  return (
    <div style={{ position: 'absolute', left: MARGIN, top: 12, lineHeight: '20px', whiteSpace: 'nowrap' }}>
      <span style={{ fontSize: 18, marginRight: 24 }}>{dashboard.title}</span>
      {shown.map((variable: any) => (
        <span key={variable.name} style={box}>
          {variable.label} <b>{text(variable)}</b>
        </span>
      ))}
    </div>
  );
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
        {panel.collapsed ? '›' : '⌄'} {title}
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
