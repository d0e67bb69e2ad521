"""``python`` steps: functions of the deployment's own modules, called in this process."""
