// One function for each panel type. The components are Grafana's own, if @grafana/ui exports them.
import {
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  VizOrientation,
  type DataFrame,
  type FieldDisplay,
  type GrafanaTheme2,
  type TimeRange,
} from '@grafana/data';
import { BarGauge, BigValue, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { Timeline } from './timeline';

export interface Drawing {
  panel: any;
  frames: DataFrame[];
  theme: GrafanaTheme2;
  timeRange: TimeRange;
  width: number;
  height: number;
}

export const PANELS: Record<string, (drawing: Drawing) => React.ReactNode> = {
  bargauge: (drawing) => <Values {...drawing} spacing={10} one={bar} />,
  stat: (drawing) => <Values {...drawing} spacing={3} autoGrid one={big} />,
  'state-timeline': (drawing) => filled(drawing, () => <Timeline {...drawing} />),
  table: (drawing) => filled(drawing, () => table(drawing)),
  timeseries: (drawing) => filled(drawing, () => series(drawing)),
};

/** The drawing, or the panel's text for no value if there is no data. */
function filled({ panel, frames, theme, height }: Drawing, draw: () => React.ReactNode) {
  if (frames.some((frame) => frame.length > 0)) {
    return draw();
  }
  const style = { height, display: 'grid', placeItems: 'center', color: theme.colors.text.secondary };
  return <div style={style}>{panel.fieldConfig?.defaults?.noValue ?? 'No data'}</div>;
}

function series({ panel, frames, ...place }: Drawing) {
  const { options } = panel;
  return <TimeSeries {...place} frames={frames} timeZone="utc" legend={options.legend} options={options} />;
}

function table({ panel, frames, ...place }: Drawing) {
  const { fieldConfig, options } = panel;
  const noHeader = !(options.showHeader ?? true);
  const all = { ...options, ...place, noHeader, fieldConfig, enableVirtualization: false };
  return <TableNG {...all} data={frames[0]} />;
}

type One = (value: FieldDisplay, panel: any, theme: GrafanaTheme2, place: any) => React.JSX.Element;

function Values(props: Drawing & { one: One; spacing: number; autoGrid?: boolean }) {
  const { panel, frames, theme, width, height, one } = props;
  const { options } = panel;
  const getValues = () =>
    getFieldDisplayValues({
      data: frames,
      fieldConfig: panel.fieldConfig,
      reduceOptions: options.reduceOptions,
      replaceVariables: (text) => text,
      sparkline: options.graphMode === 'area',
      theme,
      timeZone: 'utc',
    });
  return (
    <VizRepeater
      minVizHeight={options.minVizHeight}
      maxVizHeight={options.maxVizHeight}
      minVizWidth={options.minVizWidth}
      getValues={getValues}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={(place) => one(place.value, panel, theme, place)}
      source={frames}
      renderCounter={0}
      width={width}
      height={height}
      itemSpacing={props.spacing}
      autoGrid={props.autoGrid}
      orientation={options.orientation ?? VizOrientation.Auto}
    />
  );
}

const big: One = ({ display, sparkline }, { options }, theme, { orientation, ...place }) => (
  <BigValue {...options} {...place} parentOrientation={orientation} value={display} {...{ sparkline, theme }} />
);

const bar: One = ({ display, field, view, colIndex }, { options }, theme, place) => (
  <BarGauge
    {...options}
    {...place}
    value={display}
    field={field}
    display={view && colIndex !== undefined ? view.getFieldDisplayProcessor(colIndex) : undefined}
    valueDisplayMode={options.valueMode}
    theme={theme}
  />
);
