// Applies a panel's transformations and field configuration to its data frames.
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

// Registers the transformations of @grafana/data. `transformed` rejects unknown ones, which would be skipped silently.
standardTransformersRegistry.setInit(() =>
  [...new Set<any>(Object.values(standardTransformers))].map((found) => ({
    id: found.id,
    name: found.name,
    transformation: async () => found,
  })) as any
);

const STANDARD = 'unit min max fieldMinMax decimals displayName noValue thresholds mappings links color filterable';

// Default options of a field by panel type.
const DEFAULTS: Record<string, object> = {
  timeseries: { drawStyle: 'line', lineWidth: 1, fillOpacity: 0, pointSize: 5, showPoints: 'auto', axisGridShow: true },
  'state-timeline': { lineWidth: 1, fillOpacity: 70 },
  table: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false },
};

export async function transformed(panel: any, frames: DataFrame[]): Promise<DataFrame[]> {
  const transformations = panel.transformations ?? [];
  const unknown = transformations.filter((one: any) => !standardTransformersRegistry.getIfExists(one.id));
  if (unknown.length) {
    throw new Error(`unknown transformation: ${unknown.map((one: any) => one.id)}`);
  }
  return firstValueFrom(transformDataFrame(transformations, frames));
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

/** The first threshold is minus infinity, which is null in JSON. */
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
