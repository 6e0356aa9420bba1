// What stands between the frames and the picture: transformations and the panel's field configuration.
import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  FieldConfigOptionsRegistry,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
  type DataFrame,
  type GrafanaTheme2,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';

// The transformations of @grafana/data. What it does not have would be passed over in silence: see `transformed`.
standardTransformersRegistry.setInit(() =>
  [...new Set<any>(Object.values(standardTransformers))].map((found) => ({
    id: found.id,
    name: found.name,
    transformation: async () => found,
  })) as any
);

const STANDARD = 'unit min max fieldMinMax decimals displayName noValue thresholds mappings links color filterable';

// A field's options by panel type where the panel does not set them.
const DEFAULTS: Record<string, object> = {
  timeseries: { drawStyle: 'line', lineWidth: 1, fillOpacity: 0, pointSize: 5, showPoints: 'auto', axisGridShow: true },
  'state-timeline': { lineWidth: 1, fillOpacity: 70 },
  table: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false },
};

export async function transformed(panel: any, frames: DataFrame[]): Promise<DataFrame[]> {
  const wanted = panel.transformations ?? [];
  const unknown = wanted.filter((one: any) => !standardTransformersRegistry.getIfExists(one.id));
  if (unknown.length) {
    throw new Error(`unknown transformation: ${unknown.map((one: any) => one.id)}`);
  }
  return firstValueFrom(transformDataFrame(wanted, frames));
}

export function configured(panel: any, frames: DataFrame[], theme: GrafanaTheme2): DataFrame[] {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const custom = { ...DEFAULTS[panel.type], ...defaults.custom };
  const thresholds = based(defaults.thresholds ?? THRESHOLDS);
  const color = defaults.color ?? { mode: panel.type === 'timeseries' ? 'palette-classic' : 'thresholds' };
  const fields = applyFieldOverrides({
    data: frames,
    fieldConfig: { defaults: { ...defaults, custom, thresholds, color }, overrides },
    fieldConfigRegistry: registry([...Object.keys(custom), ...overridden(overrides)]),
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
  cacheFieldDisplayNames(fields);
  return fields;
}

const THRESHOLDS = { mode: 'absolute', steps: [{ value: null, color: 'green' }, { value: 80, color: 'red' }] };

/** Thresholds begin at minus infinity, which JSON writes as null. */
const based = ({ mode, steps }: any) => ({
  mode,
  steps: steps.map((one: any) => ({ ...one, value: one.value ?? -Infinity })),
});

const overridden = (overrides: any[]) =>
  overrides
    .flatMap((rule: any) => rule.properties.map((property: any) => property.id))
    .filter((id: string) => id.startsWith('custom.'))
    .map((id: string) => id.slice('custom.'.length));

function registry(custom: string[]) {
  const item = (id: string, path: string, isCustom: boolean) => ({
    id,
    path,
    isCustom,
    name: id,
    override: () => null,
    editor: () => null,
    process: (value: any) => (id === 'thresholds' && value ? based(value) : value),
    shouldApply: () => true,
  });
  const items = STANDARD.split(' ').map((id) => item(id, id, false));
  items.push(...[...new Set(custom)].map((path) => item(`custom.${path}`, path, true)));
  return new FieldConfigOptionsRegistry(() => items as any);
}
