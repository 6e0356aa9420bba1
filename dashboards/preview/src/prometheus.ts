// Runs the queries of a panel on Prometheus as Grafana's data source does, and converts the results to data frames.
import { createDataFrame, FieldType, rangeUtil, type DataFrame } from '@grafana/data';

const SCRAPE = 5; // seconds; corresponds to the data source's setting "Scrape interval"

export interface Scene {
  url: string;
  from: number; // Unix seconds
  to: number;
}

/** The values of the dashboard's variables: from the URL, otherwise all values, or the first one. */
export async function variables(list: any[], scene: Scene): Promise<Record<string, string[]>> {
  const selected: Record<string, string[]> = {};
  for (const variable of list) {
    const fromUrl = new URLSearchParams(location.search).get(`var-${variable.name}`);
    if (fromUrl) {
      selected[variable.name] = [fromUrl];
    } else if (variable.type === 'query') {
      const all = await labelValues(substitute(variable.query?.query ?? variable.query, selected, {}), scene);
      selected[variable.name] = variable.includeAll ? all : all.slice(0, 1);
      if (variable.includeAll && variable.allValue) {
        selected[variable.name] = [variable.allValue];
      }
    } else if (variable.type !== 'datasource') {
      selected[variable.name] = [variable.current?.value ?? variable.query].flat();
    }
  }
  return selected;
}

async function labelValues(query: string, scene: Scene): Promise<string[]> {
  const [, selector, label] = query.match(/^label_values\((?:(.*),)?\s*(\w+)\)$/s) ?? [];
  if (!label) {
    throw new Error(`not a query for label values: ${query}`);
  }
  const match: Record<string, string> = selector ? { 'match[]': selector } : {};
  return fetchData(scene, `label/${label}/values`, { ...match, start: scene.from, end: scene.to });
}

/** The frames of all targets, with the resolution for a plot of this width. */
export async function frames(panel: any, width: number, selected: Record<string, string[]>, scene: Scene) {
  const points = panel.maxDataPoints ?? width;
  const range = rangeUtil.convertRawToRange({ from: iso(scene.from), to: iso(scene.to) } as any);
  const targets = (panel.targets ?? [])
    .filter((target: any) => !target.hide)
    .map((target: any) => ({ ...target, legendFormat: substitute(target.legendFormat ?? '', selected, {}) }));
  const tables = targets.filter((target: any) => target.format === 'table');
  const results = targets.map(async (target: any) => {
    const low = substitute(target.interval || panel.interval || `${SCRAPE}s`, selected, {});
    const step = Math.max(1, rangeUtil.calculateInterval(range, points, low.replace('>', '')).intervalMs / 1000);
    const expr = substitute(target.expr, selected, {
      __interval: `${step}s`,
      __interval_ms: `${step * 1000}`,
      __rate_interval: `${Math.max(step + SCRAPE, 4 * SCRAPE)}s`,
      __range: `${Math.round(scene.to - scene.from)}s`,
      __range_s: `${Math.round(scene.to - scene.from)}`,
    });
    return target.instant && !target.range
      ? instant(target, await fetchData(scene, 'query', { query: expr, time: scene.to }), tables.length === 1)
      : ranged(target, step, await fetchData(scene, 'query_range', { query: expr, ...steps(scene, step), step }), scene);
  });
  return (await Promise.all(results)).flat();
}

const iso = (seconds: number) => new Date(seconds * 1000).toISOString();
const steps = (scene: Scene, step: number) => ({
  start: Math.floor(scene.from / step) * step,
  end: Math.floor(scene.to / step) * step,
});

/** Replaces `$name`, `${name}` and `${name:format}`. Several values become alternatives of a regular expression. */
export function substitute(text: string, selected: Record<string, string[]>, builtin: Record<string, string>): string {
  return text.replace(/\$(?:(\w+)|\{(\w+)(?::\w+)?\})/g, (whole, plain, braced) => {
    const name = plain ?? braced;
    const values = selected[name];
    return builtin[name] ?? (values ? (values.length === 1 ? values[0] : `(${values.join('|')})`) : whole);
  });
}

async function fetchData(scene: Scene, path: string, parameters: Record<string, string | number>): Promise<any> {
  const query = new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)]));
  const response = await (await fetch(`${scene.url}/api/v1/${path}?${query}`)).json();
  if (response.status !== 'success') {
    throw new Error(`${response.error}: ${parameters.query}`);
  }
  return response.data;
}

function ranged(target: any, step: number, data: any, scene: Scene): DataFrame[] {
  const { start, end } = steps(scene, step);
  const times = Array.from({ length: Math.floor((end - start) / step + 1.001) }, (_, i) => (start + i * step) * 1000);
  return data.result.map((series: any) => {
    const at = new Map(series.values.map(([time, value]: any) => [Math.round(time * 1000), number(value)]));
    return frame(target, series.metric, times, times.map((time) => at.get(Math.round(time)) ?? null));
  });
}

function instant(target: any, data: any, alone: boolean): DataFrame[] {
  const samples = data.resultType === 'scalar' ? [{ metric: {}, value: data.result }] : data.result;
  if (target.format !== 'table') {
    return samples.map((s: any) => frame(target, s.metric, [s.value[0] * 1000], [number(s.value[1])]));
  }
  if (!samples.length) {
    return [];
  }
  const labels = [...new Set<string>(samples.flatMap((s: any) => Object.keys(s.metric)))].sort();
  const columns = labels.map((name) => ({
    name,
    type: FieldType.string,
    config: { filterable: true },
    values: samples.map((s: any) => s.metric[name] ?? ''),
  }));
  const time = { name: 'Time', type: FieldType.time, config: {}, values: samples.map((s: any) => s.value[0] * 1000) };
  const value = { name: alone ? 'Value' : `Value #${target.refId}`, type: FieldType.number, config: {} };
  const values = samples.map((s: any) => number(s.value[1]));
  return [createDataFrame({ refId: target.refId, fields: [time, ...columns, { ...value, values }] })];
}

function frame(target: any, metric: Record<string, string>, times: number[], values: any[]): DataFrame {
  const { __name__: name = '', ...labels } = metric;
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
  const full = pairs.length ? `${name}{${pairs.join(', ')}}` : name || target.expr;
  const legend = target.legendFormat;
  const auto = !legend || legend === '__auto';
  const shown = auto ? full : legend.replace(/\{\{\s*(.+?)\s*\}\}/g, (_: string, label: string) => metric[label] ?? '');
  return createDataFrame({
    refId: target.refId,
    name: shown,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: times },
      { name: 'Value', type: FieldType.number, labels, config: { displayNameFromDS: shown }, values },
    ],
  });
}

const number = (text: string) => (text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text));
